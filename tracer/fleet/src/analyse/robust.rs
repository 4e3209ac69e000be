//! Statistics that a few extreme values do not change.

/// Factor from the median absolute deviation to the standard deviation of a normal distribution (1 / Φ⁻¹(3/4)).
pub(super) const NORMAL: f64 = 1.482_602_218_505_602;
/// The variance of a median of normal values is so many times that of their mean.
pub(super) const OF_MEDIAN: f64 = std::f64::consts::FRAC_PI_2;

/// The median, and the standard deviation by the median absolute deviation; 0 without values.
pub(super) fn spread(mut values: Vec<f64>) -> (f64, f64) {
    let middle = median(&mut values).unwrap_or_default();
    for value in &mut values {
        *value = (*value - middle).abs();
    }
    (middle, NORMAL * median(&mut values).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&mut [7.0]), Some(7.0));
        assert_eq!(median(&mut []), None);
        assert_eq!(spread(vec![1.0, 2.0, 3.0, 4.0, 1e300]), (3.0, NORMAL));
    }

    proptest! {
        #[test]
        fn half_of_the_values_are_on_each_side(values in prop::collection::vec(-1e9..1e9_f64, 1..50)) {
            let middle = median(&mut values.clone()).unwrap();
            prop_assert!(2 * values.iter().filter(|&&value| value < middle).count() <= values.len());
            prop_assert!(2 * values.iter().filter(|&&value| value > middle).count() <= values.len());
        }
    }
}
