//! Common parts of the checks that feed readers with arbitrary bytes.

use serde::de::IgnoredAny;

use crate::outside::is_hidden;

/// A check of a reader: it takes any bytes, and asserts properties of the result.
pub type Check = fn(&[u8]);

/// Asserts that the bytes are text without hidden characters.
///
/// # Panics
/// Panics if they are not.
pub fn assert_readable(shown: &[u8]) {
    let text = std::str::from_utf8(shown).expect("it is UTF-8");
    let hidden = text.chars().find(|c| *c != '\n' && is_hidden(*c));
    assert_eq!(hidden, None, "{text}");
}

/// Asserts that the bytes are JSON without hidden characters.
///
/// # Panics
/// Panics if they are not.
pub fn assert_json(shown: &[u8]) {
    assert_readable(shown);
    let document = serde_json::from_slice::<IgnoredAny>(shown);
    assert!(document.is_ok(), "{}", String::from_utf8_lossy(shown));
}
