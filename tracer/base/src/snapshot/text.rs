//! Bounded texts, because droptrace-fleet keeps the names of many snapshots.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Reads a text of at most `MOST` bytes.
pub(super) fn bounded<'de, const MOST: usize, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Text::<MOST>)
}

/// Reads a text as [`bounded`] does, or null.
pub(super) fn option<'de, const MOST: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    struct Bounded<const MOST: usize>(String);
    impl<'de, const MOST: usize> Deserialize<'de> for Bounded<MOST> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            bounded::<MOST, D>(deserializer).map(Self)
        }
    }
    Ok(Option::<Bounded<MOST>>::deserialize(deserializer)?.map(|text| text.0))
}

struct Text<const MOST: usize>;

impl<const MOST: usize> Visitor<'_> for Text<MOST> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {MOST} bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        if text.len() > MOST {
            return Err(E::custom(format_args!("a text is longer than {MOST} bytes")));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_beyond_its_bound_is_an_error() {
        let read = |text: &str| bounded::<3, _>(&mut serde_json::Deserializer::from_str(text));
        assert_eq!(read(r#""abc""#).unwrap(), "abc");
        assert_eq!(read(r#""\n\"c""#).unwrap(), "\n\"c");
        assert!(read(r#""abcd""#).unwrap_err().to_string().starts_with("a text is longer than 3 bytes"));
        assert!(read("1").unwrap_err().to_string().contains("expected a text of at most 3 bytes"));
    }

    #[test]
    fn a_text_may_be_null() {
        let read = |text: &str| option::<3, _>(&mut serde_json::Deserializer::from_str(text));
        assert_eq!((read("null").unwrap(), read(r#""é""#).unwrap()), (None, Some("é".to_owned())));
        assert!(read(r#""éé""#).unwrap_err().to_string().starts_with("a text is longer than 3 bytes"));
    }
}
