//! Reads the ledger of a backend. Members beyond those that all backends have are kept unchanged, within limits,
//! because the document may come from anywhere.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{FIRST_ROUNDED, Ledger};

/// The most members of a ledger, and of an object within it; droptrace's own ledgers have about 20.
const MOST_MEMBERS: usize = 64;
/// The most bytes of a name or a string.
const LONGEST: usize = 256;

impl<'de> Deserialize<'de> for Ledger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = deserializer.deserialize_map(Members { deep: true })?;
        let mut number = |name: &'static str| -> Result<u64, D::Error> {
            let value = members.remove(name).ok_or_else(|| de::Error::missing_field(name))?;
            value.as_u64().ok_or_else(|| de::Error::custom(format_args!("`{name}` is not a count")))
        };
        let (accounted, overflow, filtered) = (number("accounted")?, number("overflow")?, number("filtered")?);
        let lost = match members.remove("lost") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_u64().ok_or_else(|| de::Error::custom("`lost` is not a count"))?),
        };
        Ok(Self { accounted, overflow, filtered, lost, details: members })
    }
}

/// The members of an object: numbers, booleans, short strings, and, if the object is `deep`, further objects of these.
#[derive(Clone, Copy)]
struct Members {
    deep: bool,
}

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() == MOST_MEMBERS || name.len() > LONGEST {
                return Err(de::Error::custom(format_args!(
                    "a ledger has more than {MOST_MEMBERS} members, or one whose name is longer than {LONGEST} bytes"
                )));
            }
            let value = map.next_value_seed(Member { deep: self.deep })?;
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a ledger has a member twice"));
            }
        }
        Ok(members)
    }
}

/// The value of a member.
#[derive(Clone, Copy)]
struct Member {
    deep: bool,
}

impl<'de> de::DeserializeSeed<'de> for Member {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, true, false, null, a string, or an object of these")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        // Whole numbers beyond 64 bits are read as floats, too.
        if value.abs() >= FIRST_ROUNDED {
            return Err(E::custom(format_args!(
                "a ledger has the number {value:e}, which may be rounded: it is not a whole number of 64 bits"
            )));
        }
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        if value.len() > LONGEST {
            return Err(E::custom(format_args!("a string of a ledger is longer than {LONGEST} bytes")));
        }
        Ok(value.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        if self.deep {
            return Members { deep: false }.visit_map(map).map(Value::Object);
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Err(de::Error::custom("a ledger has objects within objects"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Ledger, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn ledger_is_read_as_it_was_written() {
        let text = r#"{"accounted":1,"overflow":2,"filtered":3,"lost":null,"events":{"offered":5,"rate":-1},"x":null}"#;
        let ledger = read(text).unwrap();
        assert_eq!((ledger.accounted, ledger.overflow, ledger.filtered, ledger.lost), (1, 2, 3, None));
        assert_eq!(serde_json::to_string(&ledger).unwrap(), text);
        assert_eq!(read(r#"{"accounted":1,"overflow":0,"filtered":0,"lost":9}"#).unwrap().lost, Some(9));
    }

    #[test]
    fn ledger_beyond_the_limits_is_an_error() {
        let with =
            |member: &str| read(&format!(r#"{{"accounted":1,"overflow":0,"filtered":0,{member}}}"#)).unwrap_err();
        assert!(with(r#""events":[{"":0},{"":0}]"#).contains("a number, true, false, null, a string, or an object"));
        assert!(with(r#""events":{"a":{"b":1}}"#).contains("objects within objects"));
        assert!(with(&format!(r#""text":"{}""#, "x".repeat(300))).contains("longer than 256 bytes"));
        let many: Vec<String> = (0..70).map(|it| format!(r#""{it}":0"#)).collect();
        assert!(with(&many.join(",")).contains("more than 64 members"));
        assert!(
            with(r#""hits":18446744073709551616"#).contains("the number 1.8446744073709552e19, which may be rounded")
        );
        assert!(with(r#""hits":9007199254740993.0"#).contains("which may be rounded"));
        assert!(with(r#""hits":1,"hits":2"#).contains("a member twice"));
        assert!(with(r#""accounted":1"#).contains("a member twice"));
        assert!(with(r#""events":{"a":1,"a":1}"#).contains("a member twice"));
        assert!(read(r#"{"accounted":18446744073709551616,"overflow":0,"filtered":0}"#).is_err());
        assert!(
            read(r#"{"accounted":-1,"overflow":0,"filtered":0}"#).unwrap_err().contains("`accounted` is not a count")
        );
        assert!(read("{}").unwrap_err().contains("missing field `accounted`"));
    }
}
