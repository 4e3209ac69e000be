//! Statistics that a few extreme values do not change.

/// Factor from the median absolute deviation to the standard deviation of a normal distribution (1 / Φ⁻¹(3/4)).
const NORMAL: f64 = 1.482_602_218_505_602;
/// The least standard deviation. Among hosts with nearly equal rates, each small difference would otherwise stand out.
/// On a natural logarithmic scale: with six deviations a host drops at least twenty times the median.
const FLOOR: f64 = 0.5;
/// A few hosts say little about the usual deviation. A typical deviation therefore counts as this many further hosts:
/// among six hosts with equal rates, a host stands out that drops 115 times the median.
const USUAL: f64 = 1.0;
/// The typical deviation, see [`USUAL`].
const USUAL_COUNTS: f64 = 10.0;

/// Location and spread of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Robust {
    /// The median.
    pub(super) median: f64,
    /// The standard deviation, derived from the median absolute deviation.
    pub(super) deviation: f64,
}

impl Robust {
    /// Returns `None` without values. Values are finite.
    pub(super) fn of(values: &mut [f64]) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "hosts of a fleet")]
        let count = values.len() as f64;
        let median = median(values)?;
        for value in values.iter_mut() {
            *value = (*value - median).abs();
        }
        let variance = (self::median(values)? * NORMAL).powi(2);
        let variance = (count * variance + USUAL_COUNTS * USUAL.powi(2)) / (count + USUAL_COUNTS);
        Some(Self { median, deviation: variance.sqrt().max(FLOOR) })
    }

    /// The number of deviations by which a value is above the median; negative if it is below.
    pub(super) fn score(self, value: f64) -> f64 {
        (value - self.median) / self.deviation
    }
}

/// Reorders the values.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let is_odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = if is_odd { upper } else { below.iter().copied().max_by(f64::total_cmp)? };
    Some(f64::midpoint(lower, upper))
}

/// Returns how significantly the values of a group are above the others: the normal approximation of Mann and Whitney's
/// test, with its correction for ties, in standard deviations. Each value comes with a flag that says whether it
/// belongs to the group.
#[expect(clippy::cast_precision_loss, reason = "hosts of a fleet")]
pub(super) fn mann_whitney(values: &mut [(f64, bool)]) -> f64 {
    values.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (mut ranks, mut ties, mut before) = (0.0, 0.0, 0_usize);
    for same in values.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq()) {
        let count = same.len() as f64;
        let rank = before as f64 + f64::midpoint(1.0, count);
        ranks += rank * same.iter().filter(|value| value.1).count() as f64;
        ties += count.powi(3) - count;
        before += same.len();
    }
    let all = values.len() as f64;
    let group = values.iter().filter(|value| value.1).count() as f64;
    let rest = all - group;
    let above = ranks - group * (group + 1.0) / 2.0 - group * rest / 2.0;
    let variance = group * rest / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance > 0.0 { above / variance.sqrt() } else { 0.0 }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_extreme_values_change_nothing() {
        let mut plain = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let plain = Robust::of(&mut plain).unwrap();
        let strange = Robust::of(&mut [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e300]).unwrap();
        assert_eq!(plain, strange);
        assert_eq!(plain.median, 4.0);
        let variance = (7.0 * (2.0 * NORMAL).powi(2) + 10.0) / 17.0;
        assert!((plain.deviation - variance.sqrt()).abs() < 1e-12, "{plain:?}");
        assert!((strange.score(1e300)) > 1e299);
    }

    #[test]
    fn hosts_alike_do_not_stand_out_by_little() {
        let robust = Robust::of(&mut [2.0; 1000]).unwrap();
        assert_eq!(robust, Robust { median: 2.0, deviation: FLOOR });
        assert_eq!(robust.score(2.5), 1.0);
        let few = Robust::of(&mut [2.0; 6]).unwrap();
        assert_eq!(few, Robust { median: 2.0, deviation: (10.0_f64 / 16.0).sqrt() });
        assert_eq!(Robust::of(&mut []), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&mut [7.0]), Some(7.0));
    }

    #[test]
    fn groups_are_distinguished() {
        let group = |values: &[f64]| values.iter().map(|&value| (value, true)).collect::<Vec<_>>();
        let mut apart = group(&[11.0, 12.0, 13.0, 14.0]);
        apart.extend([1.0, 2.0, 3.0, 4.0].map(|value| (value, false)));
        // U = 16, its mean 8, its variance 4 * 4 * 9 / 12 = 12.
        assert!((mann_whitney(&mut apart) - 8.0 / 12.0_f64.sqrt()).abs() < 1e-12);
        let mut tied = group(&[1.0, 1.0, 2.0]);
        tied.extend([(1.0, false), (0.0, false), (0.0, false)]);
        // U = 8, its mean 4.5; ties of 2 and 3: variance 9 / 12 * (7 - (6 + 24) / 30) = 4.5.
        assert!((mann_whitney(&mut tied) - 3.5 / 4.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(mann_whitney(&mut [(1.0, true), (1.0, false)]), 0.0);
        assert_eq!(mann_whitney(&mut []), 0.0);
    }

    proptest! {
        #[test]
        fn half_of_the_values_are_on_each_side(values in prop::collection::vec(-1e9..1e9_f64, 1..50)) {
            let middle = median(&mut values.clone()).unwrap();
            prop_assert!(2 * values.iter().filter(|&&value| value < middle).count() <= values.len());
            prop_assert!(2 * values.iter().filter(|&&value| value > middle).count() <= values.len());
        }

        #[test]
        fn a_group_and_the_rest_are_opposites(values in prop::collection::vec((0_u8..9, any::<bool>()), 2..40)) {
            let of = |is_group: bool| {
                let mut values: Vec<_> = values.iter().map(|&(value, it)| (f64::from(value), it == is_group)).collect();
                mann_whitney(&mut values)
            };
            prop_assert!((of(true) + of(false)).abs() < 1e-9);
        }
    }
}
