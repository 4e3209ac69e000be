//! What the checks of readers have in common, those of bytes that may come from anywhere.

use serde::de::IgnoredAny;

use crate::outside::is_hidden;

/// A check of a reader: takes any bytes, and asserts what must hold of the result.
pub type Check = fn(&[u8]);

/// Asserts that it is text without characters that hide.
///
/// # Panics
/// Where it is not.
pub fn assert_readable(shown: &[u8]) {
    let text = std::str::from_utf8(shown).expect("it is UTF-8");
    let hidden = text.chars().find(|c| *c != '\n' && is_hidden(*c));
    assert_eq!(hidden, None, "{text}");
}

/// Asserts that it is JSON without characters that hide.
///
/// # Panics
/// Where it is not.
pub fn assert_json(shown: &[u8]) {
    assert_readable(shown);
    let document = serde_json::from_slice::<IgnoredAny>(shown);
    assert!(document.is_ok(), "{}", String::from_utf8_lossy(shown));
}
