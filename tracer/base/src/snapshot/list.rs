//! Bounded lists, because their members take more memory than the text that they are read from.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// Reads a list of at most `MOST` members.
pub(super) fn bounded<'de, const MOST: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(List::<MOST, T>(PhantomData))
}

struct List<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for List<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_element()? {
            if list.len() == MOST {
                return Err(de::Error::custom(format_args!("a list has more than {MOST} members")));
            }
            list.push(member);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_beyond_its_bound_is_an_error() {
        let read = |text: &str| bounded::<2, u8, _>(&mut serde_json::Deserializer::from_str(text));
        assert_eq!(read("[1,2]").unwrap(), [1, 2]);
        assert!(read("[]").unwrap().is_empty());
        assert!(read("[1,2,3]").unwrap_err().to_string().starts_with("a list has more than 2 members"));
        assert!(read("{}").unwrap_err().to_string().contains("expected a list of at most 2"));
    }
}
