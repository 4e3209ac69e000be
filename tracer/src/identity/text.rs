//! Names that others chose, made fit to be shown.

use crate::outside::printable;

/// The greatest length in bytes of a name. The names of pods and cgroups have at most 255.
const LONGEST_NAME: usize = 255;
/// The greatest length in bytes of a path. The kernel's own limit is 4096, so that a cache of paths could become large.
const LONGEST_PATH: usize = 1024;
const CUT: char = '…';

/// A name as it can be shown: in one line, without hidden characters, and at most 255 bytes long. It is absent if
/// nothing of the name would be visible.
pub(super) fn name(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let name = printable(text);
    if name.len() <= LONGEST_NAME {
        return Some(name.into_owned());
    }
    let mut name = name[..name.floor_char_boundary(LONGEST_NAME - CUT.len_utf8())].to_owned();
    name.push(CUT);
    Some(name)
}

/// A path as it can be shown: as [`name`], but of at most 1024 bytes. A longer path loses its start, because its end
/// says more about what it stands for.
pub(super) fn path(text: &str) -> String {
    let path = printable(text);
    if path.len() <= LONGEST_PATH {
        return path.into_owned();
    }
    let start = path.ceil_char_boundary(path.len() - (LONGEST_PATH - CUT.len_utf8()));
    format!("{CUT}{}", &path[start..])
}

#[cfg(test)]
pub(super) fn is_presentable(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(crate::outside::is_hidden) && text.len() <= LONGEST_PATH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_visible_and_short() {
        assert_eq!(name("web-1\n").as_deref(), Some("web-1"));
        assert_eq!(name("a\u{1b}[2Jb").as_deref(), Some("a\u{fffd}[2Jb"));
        assert_eq!((name(""), name(" \t\n")), (None, None));
        assert_eq!(path("/a/\u{202e}b"), "/a/\u{fffd}b");
        let long = "/ä".repeat(2000) + "/end";
        assert!(path(&long).starts_with(CUT) && path(&long).ends_with("/ä/end") && path(&long).len() <= LONGEST_PATH);
    }

    proptest! {
        #[test]
        fn any_text_becomes_presentable(text in "\\PC*|.{0,2000}") {
            prop_assert!(name(&text).is_none_or(|name| is_presentable(&name) && name.len() <= LONGEST_NAME));
            prop_assert!(text.trim().is_empty() || is_presentable(&path(&text)));
        }
    }
}
