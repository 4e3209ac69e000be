//! Counts that add up exactly, and numbers in JSON, where counts are whole, too.

use std::iter::Sum;
use std::ops::AddAssign;

use droptrace_base::snapshot::FIRST_ROUNDED;
use serde::{Serialize, Serializer};

/// A count, or a sum of counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// An exact count.
    Whole(u64),
    /// The result of an engine's calculation: 2^53 or more, a fraction, or not a number.
    Float(f64),
}

impl Amount {
    /// The value for calculations; rounded from 2^53 on.
    #[expect(clippy::cast_precision_loss, reason = "rates and shares need no more")]
    pub const fn float(self) -> f64 {
        match self {
            Self::Whole(count) => count as f64,
            Self::Float(value) => value,
        }
    }

    /// Returns whether no part of the value was rounded.
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

impl Default for Amount {
    fn default() -> Self {
        Self::Whole(0)
    }
}

impl From<u64> for Amount {
    fn from(count: u64) -> Self {
        Self::Whole(count)
    }
}

impl From<f64> for Amount {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and small enough")]
    fn from(value: f64) -> Self {
        if value.fract() == 0.0 && (0.0..FIRST_ROUNDED).contains(&value) {
            Self::Whole(value as u64)
        } else {
            Self::Float(value)
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        let whole = match (*self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.checked_add(other),
            _ => None,
        };
        *self = whole.map_or_else(|| Self::Float(self.float() + other.float()), Self::Whole);
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |mut sum, amount| {
            sum += amount;
            sum
        })
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(count) => serializer.serialize_u64(*count),
            Self::Float(value) => serialize(value, serializer),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small enough")]
    let whole = *value as i64;
    if value.fract() == 0.0 && value.abs() < FIRST_ROUNDED {
        serializer.serialize_i64(whole)
    } else {
        serializer.serialize_f64(*value)
    }
}

/// Serialises an optional number.
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
        let json = |one, other| serde_json::to_string(&Pair(one, other)).unwrap();
        assert_eq!(json(9_007_199_254_740_991.0, Some(0.0)), "[9007199254740991,0]");
        assert_eq!(json(9_007_199_254_740_992.0, None), "[9007199254740992.0,null]");
        assert_eq!(json(0.5, None), "[0.5,null]");
        assert_eq!(json(1e300, Some(-3.0)), "[1e+300,-3]");
        assert_eq!(json(f64::INFINITY, Some(f64::NAN)), "[null,null]");
    }

    #[test]
    fn counts_add_up_exactly() {
        let sum = |amounts: &[Amount]| serde_json::to_string(&amounts.iter().copied().sum::<Amount>()).unwrap();
        let (one, large) = (Amount::from(1.0), Amount::from(9_007_199_254_740_993));
        assert_eq!(sum(&[large, one, one]), "9007199254740995");
        assert_eq!(sum(&[Amount::from(u64::MAX)]), "18446744073709551615");
        assert_eq!(sum(&[Amount::from(u64::MAX), one]), "1.8446744073709552e+19");
        assert_eq!(sum(&[one, Amount::from(0.5)]), "1.5");
        assert!(one.is_exact() && !Amount::from(9_007_199_254_740_992.0).is_exact() && !Amount::from(-1.0).is_exact());
    }
}
