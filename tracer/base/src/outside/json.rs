//! JSON whose hidden characters are visible: the characters that text output replaces ([`is_hidden`]) are escaped, so
//! that the value stays the same, and a terminal, a pager or an editor cannot be misled.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::is_hidden;

/// Writes a document without an end of line.
///
/// # Errors
/// Fails with the error of `out`.
pub fn to_json(out: impl Write, document: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    document.serialize(&mut Serializer::with_formatter(out, Escaping(CompactFormatter)))
}

struct Escaping(CompactFormatter);

impl Formatter for Escaping {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly all text takes this branch; the escapes that JSON requires are made by the formatter's caller.
        if fragment.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return self.0.write_string_fragment(out, fragment);
        }
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            self.0.write_string_fragment(out, &rest[..at])?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hidden.len_utf8()..];
        }
        self.0.write_string_fragment(out, rest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn written(document: &impl Serialize) -> String {
        let mut bytes = Vec::new();
        to_json(&mut bytes, document).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn hidden_characters_are_escaped_and_stay_the_same_value() {
        let text = "a\u{202e}b\u{9b}31m\u{7f}\u{e0041}\u{fe0f}\"\\\n東京\u{2028}";
        let shown = written(&text);
        assert_eq!(shown, r#""a\u202eb\u009b31m\u007f\udb40\udc41\ufe0f\"\\\n東京\u2028""#);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn keys_are_escaped_and_the_rest_is_unchanged() {
        let document = BTreeMap::from([("k\u{200b}", Some(1.5)), ("é", None)]);
        assert_eq!(written(&document), r#"{"k\u200b":1.5,"é":null}"#);
        let plain = serde_json::json!({"a": [1, "b", {"c": "München"}], "d": u64::MAX});
        assert_eq!(written(&plain), plain.to_string());
    }
}
