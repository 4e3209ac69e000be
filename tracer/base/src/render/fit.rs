//! Shortens names to a width, and replaces their hidden characters.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::domain::event::Origin;

/// The columns of a terminal that a text takes: wide characters, as of Chinese, Japanese and Korean, take two.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The width for `{text:<0$}`, which counts characters, so that the padded text takes `width` columns of a terminal.
pub fn padded(text: &str, width: usize) -> usize {
    (width + text.chars().count()).saturating_sub(text.width())
}

/// The text in at most `width` columns of a terminal, with `…` for the part that was cut out of its middle.
pub fn shorten<'t>(text: impl Into<Cow<'t, str>>, width: usize) -> Cow<'t, str> {
    let text = text.into();
    if text.width() <= width {
        return text;
    }
    let Some(kept) = width.checked_sub(1) else { return "".into() };
    let head: String = within(text.chars(), kept.div_ceil(2)).collect();
    let mut tail: Vec<char> = within(text.chars().rev(), kept - kept.div_ceil(2)).collect();
    tail.reverse();
    head.chars().chain(['…']).chain(tail).collect()
}

/// The first characters that fit into a number of columns.
fn within(text: impl Iterator<Item = char>, columns: usize) -> impl Iterator<Item = char> {
    text.scan(0, move |taken, character| {
        *taken += character.width().unwrap_or_default();
        (*taken <= columns).then_some(character)
    })
}

/// The backends that reported a drop: `ebpf`, `net_dm`, `ebpf+net_dm`, `-` for none.
pub const fn seen_by(origins: &[Origin]) -> &'static str {
    match origins {
        [] => "-",
        [only] => only.name(),
        _ => "ebpf+net_dm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::printable;

    #[test]
    fn long_text_loses_its_middle() {
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghij", 9), "abcd…ghij");
        assert_eq!(shorten("abcdefghij", 4), "ab…j");
        assert_eq!(shorten("äbcdefghïj", 4), "äb…j");
        assert_eq!(shorten("abc", 1), "…");
        assert_eq!(shorten("abc", 0), "");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let name = "支付-服务-web";
        assert_eq!(width(name), 13);
        for columns in 0..=13 {
            let short = shorten(name, columns);
            assert!(width(&short) <= columns && width(&short) + 2 >= columns, "{short} in {columns}");
            assert_eq!(width(&format!("{short:<0$}|", padded(&short, columns))), columns + 1);
        }
        assert_eq!(shorten(name, 8), "支付…web");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("eth0\x1b[2J"), "eth0\u{fffd}[2J");
    }
}
