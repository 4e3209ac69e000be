//! Text that others chose: names of hosts, files, interfaces and namespaces, and answers of query engines. Such text
//! may move a terminal's cursor, reverse the order of a line, or look like another name.

mod json;
mod stderr;
mod url;

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

pub use json::to_json;
pub use stderr::{hold_messages, release_messages};
pub use url::has_valid_port;

/// Returns whether a character is not simply visible: control characters, Unicode's characters for the direction of
/// text ([UAX 9](https://www.unicode.org/reports/tr9/), 2), for joining and hiding (`Default_Ignorable_Code_Point` of
/// [UAX 44](https://www.unicode.org/reports/tr44/)), and for ends of lines.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The text in one line, with a replacement for each hidden character.
pub fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, is_hidden)
}

/// Does the same as [`printable`], but keeps the ends of lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_hidden(c) && c != '\n')
}

fn replaced(text: &str, is_wrong: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().any(&is_wrong) {
        text.chars().map(|c| if is_wrong(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        text.into()
    }
}

/// Writes a message to stderr. The message may contain text of others.
pub fn say(program: &str, what: impl Display) {
    stderr::write(&format!("{program}: {}\n", printable_lines(&what.to_string())));
}

/// A writer of log lines to stderr, each of which is written at once. Colours are kept if the log has them.
pub(crate) struct LogWriter {
    /// The lines have colours.
    pub(crate) has_colors: bool,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const ESCAPE: char = '\u{1b}';
        let text = String::from_utf8_lossy(bytes);
        let passes = |c| c == '\n' || (c == ESCAPE && self.has_colors);
        stderr::write(&replaced(&text, |c| is_hidden(c) && !passes(c)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides() {
        assert_eq!(printable("eth0\x1b[2J"), "eth0\u{fffd}[2J");
        assert_eq!(
            printable("a\u{202e}b\u{2066}c\u{200b}d\u{9b}e\nf\u{e0041}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}"
        );
        assert_eq!(printable_lines("a\nb\r"), "a\nb\u{fffd}");
        for hidden in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{17b5}',
            '\u{180b}',
            '\u{180f}',
            '\u{2060}',
            '\u{206f}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{1bca0}',
            '\u{1bca3}',
            '\u{1d173}',
            '\u{1d17a}',
            '\u{e0001}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{e01ef}',
            '\u{80}',
            '\u{9f}',
        ] {
            assert!(is_hidden(hidden), "{hidden:?}");
        }
        for shown in ["München-Δ 東京 שלום", "emoji 🦀", "udp_rcv+0x1 […]"] {
            assert!(matches!(printable(shown), Cow::Borrowed(_)), "{shown}");
        }
    }
}
