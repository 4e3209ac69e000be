//! Shortens names to a width, and replaces their hidden characters.

use std::borrow::Cow;

use crate::domain::event::Origin;

/// The text in at most `width` characters, with `…` for the part that was cut out of its middle.
pub fn shorten<'t>(text: impl Into<Cow<'t, str>>, width: usize) -> Cow<'t, str> {
    let text = text.into();
    let length = text.chars().count();
    if length <= width {
        return text;
    }
    let kept = width.saturating_sub(1);
    let head = kept.div_ceil(2);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - (kept - head))).take(width).collect()
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
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("eth0\x1b[2J"), "eth0\u{fffd}[2J");
    }
}
