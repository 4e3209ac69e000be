//! Numbers in JSON: counts are whole there too.

use serde::{Serialize, Serializer};

/// Up to here each whole number is its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small enough")]
    let whole = *value as i64;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        serializer.serialize_i64(whole)
    } else {
        serializer.serialize_f64(*value)
    }
}

/// Of what may be none.
#[expect(clippy::ref_option, reason = "serde calls it so")]
pub(super) fn option<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    struct Number(f64);
    impl Serialize for Number {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serialize(&self.0, serializer)
        }
    }
    value.map(Number).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(#[serde(serialize_with = "serialize")] f64, #[serde(serialize_with = "option")] Option<f64>);

    #[test]
    fn whole_numbers_are_whole() {
        let told = |one, other| serde_json::to_string(&Pair(one, other)).unwrap();
        assert_eq!(told(9_007_199_254_740_992.0, Some(0.0)), "[9007199254740992,0]");
        assert_eq!(told(0.5, None), "[0.5,null]");
        assert_eq!(told(1e300, Some(-3.0)), "[1e+300,-3]");
        assert_eq!(told(f64::INFINITY, Some(f64::NAN)), "[null,null]");
    }
}
