//! Random draws. Each stream has a seed of its own, so that no draw depends on how many others there were.

use rand::SeedableRng as _;
use rand_distr::{Distribution as _, Gamma, Poisson, StandardNormal};
use rand_xorshift::XorShiftRng;

/// Below this mean, a count is 0.
const NOTHING: f64 = 1e-12;

/// The stream of draws for one purpose: `parts` name the purpose, for example a host and a day.
pub(super) fn stream(seed: u64, parts: &[u64]) -> XorShiftRng {
    XorShiftRng::seed_from_u64(parts.iter().fold(mixed(seed), |state, part| mixed(state ^ mixed(*part))))
}

/// The output function of `SplitMix64`, a bijection whose result depends on each bit.
const fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A factor with the median 1; `deviation` is the standard deviation of its logarithm.
pub(super) fn apart(deviation: f64, draws: &mut XorShiftRng) -> f64 {
    let normal: f64 = StandardNormal.sample(draws);
    (deviation * normal).exp()
}

/// As [`apart`], with the mean 1.
pub(super) fn mean_one(deviation: f64, draws: &mut XorShiftRng) -> f64 {
    apart(deviation, draws) * (-deviation * deviation / 2.0).exp()
}

/// A factor with the mean 1 and the variance 1 / `shape`.
pub(super) fn gamma(shape: f64, draws: &mut XorShiftRng) -> f64 {
    Gamma::new(shape, 1.0 / shape).map_or(1.0, |gamma| gamma.sample(draws))
}

/// A value between two bounds, whose logarithm is uniform.
pub(super) fn log_uniform(bounds: (f64, f64), draws: &mut XorShiftRng) -> f64 {
    use rand::RngExt as _;
    let (least, most) = bounds;
    if least < most { draws.random_range(least.ln()..most.ln()).exp() } else { least }
}

/// A count of the gamma-Poisson (negative binomial) distribution: its variance is `mean + mean² / shape`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number that is not negative")]
pub(super) fn count(mean: f64, shape: f64, draws: &mut XorShiftRng) -> u64 {
    let mean = mean * gamma(shape, draws);
    if mean < NOTHING {
        return 0;
    }
    Poisson::new(mean).map_or(0, |count| count.sample(draws) as u64)
}

/// The index that a share of the whole falls on: the shares need not add up to 1.
pub(super) fn pick(shares: impl Iterator<Item = f64> + Clone, draws: &mut XorShiftRng) -> usize {
    use rand::RngExt as _;
    let mut at = draws.random_range(0.0..shares.clone().sum::<f64>());
    let mut last = 0;
    for (index, share) in shares.enumerate() {
        if at < share {
            return index;
        }
        at -= share;
        last = index;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 200_000;

    /// Mean and variance of many draws.
    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let value = draw();
            sum += value;
            squares += value * value;
        }
        let mean = sum / f64::from(DRAWS);
        (mean, squares / f64::from(DRAWS) - mean * mean)
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn counts_have_the_mean_and_the_dispersion_that_were_asked_for() {
        for (mean, shape) in [(0.3, 0.2), (5.0, 0.5), (50.0, 0.2), (50.0, 2.0), (2_000.0, 20.0)] {
            let mut draws = stream(1, &[7]);
            let (found, variance) = moments(|| count(mean, shape, &mut draws) as f64);
            let expected = mean + mean * mean / shape;
            let error = (expected / f64::from(DRAWS)).sqrt();
            assert!((found - mean).abs() < 5.0 * error, "mean {found} instead of {mean} (shape {shape})");
            assert!((variance / expected - 1.0).abs() < 0.1, "variance {variance} instead of {expected}");
        }
    }

    #[test]
    fn factors_have_the_mean_one() {
        let mut draws = stream(2, &[]);
        let (of_logarithms, _) = moments(|| mean_one(0.5, &mut draws));
        let (of_gamma, variance) = moments(|| gamma(4.0, &mut draws));
        assert!((of_logarithms - 1.0).abs() < 0.01 && (of_gamma - 1.0).abs() < 0.01);
        assert!((variance - 0.25).abs() < 0.01);
    }

    #[test]
    fn streams_of_different_purposes_differ() {
        use rand::RngExt as _;
        let first = |parts: &[u64]| stream(1, parts).random::<u64>();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[0]), first(&[0, 0]));
    }
}
