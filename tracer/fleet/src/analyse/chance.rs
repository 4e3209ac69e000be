//! The probability of a count, if nothing is wrong.
//!
//! A count of drops is a Poisson count of a rate, and the rates of hosts vary more than chance alone would have it
//! (overdispersion). Rates are taken to be normal on a scale of their powers. The power of a third is the scale on which
//! gamma distributions are normal (Wilson and Hilferty): counts then have a negative binomial distribution. The power of
//! zero is the logarithm: Poisson counts of log-normal rates, with a heavier tail. Powers below zero have a still heavier
//! one.

use std::f64::consts::SQRT_2;

/// The least and the greatest power: heavier than log-normal, and gamma. A power far below zero would make no count too
/// great.
pub(super) const POWERS: [f64; 2] = [-0.15, 1.0 / 3.0];
/// Points at which the most probable rate is searched.
const GRID: u32 = 48;
const REFINED: u32 = 30;

/// The distribution of hosts' rates around what is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dispersion {
    /// The standard deviation on the scale of powers; for small ones that of the natural logarithm.
    pub(super) deviation: f64,
    /// The power that makes the rates normal, within [`POWERS`].
    pub(super) power: f64,
    /// Degrees of freedom of the deviation, which few hosts leave uncertain.
    pub(super) freedom: f64,
}

impl Dispersion {
    /// The probability of at least this count where `expected` is the median of such hosts. It is the normal tail beyond
    /// the signed root of the deviance, at the rate that explains the count best.
    pub(super) fn at_least(self, count: f64, expected: f64) -> f64 {
        // The middle between two counts.
        let count = count - 0.5;
        if !(expected > 0.0 && count > expected) {
            return 1.0;
        }
        let whole = self.score((count / expected).ln());
        let half_deviance = |x: f64| self.half_square(x) + poisson(count, expected * self.ratio(x));
        let step = whole / f64::from(GRID);
        let (least, at) = (0..=GRID)
            .map(|point| step * f64::from(point))
            .map(|x| (half_deviance(x), x))
            .fold((f64::INFINITY, 0.0), |best, point| if point.0 < best.0 { point } else { best });
        let (mut low, mut high) = ((at - step).max(0.0), (at + step).min(whole));
        for _ in 0..REFINED {
            let third = (high - low) / 3.0;
            if half_deviance(low + third) < half_deviance(high - third) {
                high -= third;
            } else {
                low += third;
            }
        }
        let half = half_deviance(f64::midpoint(low, high)).min(least);
        upper_tail((2.0 * half).sqrt())
    }

    /// Whether the probability is certainly above `most`: chance can only make a count more probable than its rate.
    pub(super) fn is_usual(self, count: f64, expected: f64, most: f64) -> bool {
        let score = self.score(((count - 0.5) / expected).ln());
        score.is_nan() || score <= 0.0 || upper_tail((2.0 * self.half_square(score)).sqrt()) > most
    }

    /// The score of the logarithm of a ratio to the median, in deviations.
    pub(super) fn score(self, ratio: f64) -> f64 {
        scaled(ratio, self.power) / self.deviation
    }

    /// The ratio to the median with this score.
    fn ratio(self, score: f64) -> f64 {
        let scaled = score * self.deviation;
        if self.power.abs() < 1e-6 { scaled.exp() } else { (1.0 + self.power * scaled).max(0.0).powf(1.0 / self.power) }
    }

    /// Half of the square of a normal score as probable as this score, which has Student's distribution (Wallace).
    fn half_square(self, score: f64) -> f64 {
        let n = self.freedom;
        let factor = (8.0 * n + 1.0) / (8.0 * n + 3.0);
        0.5 * factor * factor * n * (score * score / n).ln_1p()
    }
}

/// A logarithm of a ratio on the scale of powers.
pub(super) fn scaled(ratio: f64, power: f64) -> f64 {
    if power.abs() < 1e-6 { ratio } else { (power * ratio).exp_m1() / power }
}

/// Half of the deviance of a Poisson count above its mean.
fn poisson(count: f64, mean: f64) -> f64 {
    // The sum of its three terms would cancel for large counts.
    let difference = (mean - count) / count;
    if count <= mean { 0.0 } else { (count * (difference - difference.ln_1p())).max(0.0) }
}

/// The probability of a normal score above this one. At least the least positive number: nothing is impossible.
pub(super) fn upper_tail(score: f64) -> f64 {
    (0.5 * libm::erfc(score / SQRT_2)).max(f64::MIN_POSITIVE)
}

/// The q-values of the discoveries among `tests` tests, by the method of Benjamini and Hochberg: the discoveries up to
/// each one have at most this expected share of false ones. The probabilities are the least ones; all others count as 1.
#[expect(clippy::cast_precision_loss, reason = "the number of tests")]
pub(super) fn q_values(probabilities: &[f64], tests: usize) -> Vec<f64> {
    let mut order: Vec<_> = (0..probabilities.len()).collect();
    order.sort_by(|&one, &other| probabilities[other].total_cmp(&probabilities[one]));
    let (mut values, mut least) = (vec![1.0; probabilities.len()], 1.0_f64);
    for (above, at) in order.into_iter().enumerate() {
        let rank = probabilities.len() - above;
        least = least.min(probabilities[at] * tests.max(rank) as f64 / rank as f64);
        values[at] = least;
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The exact tail of a negative binomial distribution with this mean and shape.
    fn negative_binomial(count: u32, mean: f64, shape: f64) -> f64 {
        let p = mean / (mean + shape);
        let mut term = (shape * (1.0 - p).ln()).exp();
        let mut tail = 0.0;
        for k in 0..count + 4_000 {
            if k >= count {
                tail += term;
            }
            term *= (f64::from(k) + shape) / (f64::from(k) + 1.0) * p;
        }
        tail
    }

    fn gamma(shape: f64) -> (Dispersion, f64) {
        // Wilson and Hilferty: the cube root has the mean 1 - 1/9k and the variance 1/9k.
        let middle = 1.0 - 1.0 / (9.0 * shape);
        let deviation = 3.0 * (1.0 / (9.0 * shape)).sqrt() / middle;
        (Dispersion { deviation, power: 1.0 / 3.0, freedom: 1e9 }, middle.powi(3))
    }

    #[test]
    fn the_power_of_a_third_is_the_negative_binomial_distribution() {
        for (count, mean, shape) in
            [(30, 5.0, 2.0), (100, 20.0, 4.0), (60, 10.0, 1.0), (40, 10.0, 8.0), (400, 50.0, 2.0), (30, 2.0, 3.0)]
        {
            let (dispersion, median) = gamma(shape);
            let estimate = dispersion.at_least(f64::from(count), mean * median);
            let exact = negative_binomial(count, mean, shape);
            let off = estimate.ln() / exact.ln();
            assert!((0.85..1.1).contains(&off), "{count} of {mean}, {shape}: {estimate:e}, exactly {exact:e}");
        }
    }

    #[test]
    fn without_dispersion_counts_are_of_poisson() {
        let dispersion = Dispersion { deviation: 1e-3, power: 0.0, freedom: 1e9 };
        // The exact tails at 30 of 10 and at 12 of 5.
        for (count, mean, exact) in [(30.0, 10.0, 2.5e-7), (12.0, 5.0, 5.45e-3)] {
            let estimate = dispersion.at_least(count, mean);
            assert!((0.8..1.4).contains(&(estimate / exact)), "{estimate:e}, exactly {exact:e}");
        }
    }

    #[test]
    fn large_counts_have_the_tail_of_the_rates() {
        let dispersion = Dispersion { deviation: 0.8, power: 0.0, freedom: 1e9 };
        let estimate = dispersion.at_least(1e9, 1e9 / (0.8_f64 * 4.0).exp());
        assert!((estimate / upper_tail(4.0) - 1.0).abs() < 0.01, "{estimate:e}");
        let few = Dispersion { freedom: 10.0, ..dispersion };
        // Student's distribution with ten degrees of freedom: 0.0013 beyond 4.
        let estimate = few.at_least(1e9, 1e9 / (0.8_f64 * 4.0).exp());
        assert!((estimate / 1.26e-3 - 1.0).abs() < 0.05, "{estimate:e}");
    }

    #[test]
    fn q_values_are_those_of_benjamini_and_hochberg() {
        let values = q_values(&[0.04, 0.001, 0.008], 10);
        let expected = [0.04 * 10.0 / 3.0, 0.01, 0.04];
        assert!(values.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-12), "{values:?}");
        assert_eq!(q_values(&[], 0), Vec::<f64>::new());
    }

    /// The deviance of a large count is the difference of much larger numbers.
    #[test]
    fn large_count_is_no_less_probable_than_its_rate() {
        let power = -0.018_129_236_861_588_578;
        let dispersion = Dispersion { deviation: 1.896_040_219_654_831_6, power, freedom: 30.0 };
        let expected = 807_818.428_962_886_3;
        let count = expected * 7_701.536_655_908_458;
        let probability = dispersion.at_least(count, expected);
        assert!(!dispersion.is_usual(count, expected, probability * 1.000_001), "{probability:e}");
    }

    proptest! {
        #[test]
        fn more_drops_are_less_probable(
            expected in 0.01..1e6_f64, times in 1.1..1e4_f64, deviation in 0.1..2.0_f64, power in -0.15..0.33_f64,
        ) {
            let dispersion = Dispersion { deviation, power, freedom: 30.0 };
            let (one, other) =
                (dispersion.at_least(expected * times, expected), dispersion.at_least(expected * times * 1.5, expected));
            prop_assert!(one >= 1.0 || !dispersion.is_usual(expected * times, expected, one * 1.000_001));
            prop_assert!(one > 0.0 && one <= 1.0 && other <= one * 1.000_001, "{} {}", one, other);
        }
    }
}
