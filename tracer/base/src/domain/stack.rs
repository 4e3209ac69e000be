//! Call stacks of sampled drops.

use std::sync::Arc;

use crate::domain::event::{Location, Reason};

/// The call stacks of the drops at one drop site with one reason, of which a sample has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledStacks {
    /// The drop reason.
    pub reason: Arc<Reason>,
    /// The drop site.
    pub location: Arc<Location>,
    /// All drops there, which are counted exactly.
    pub drops: u64,
    /// Drops in the sample. A stack may be unknown, and beyond a bound no further stacks are kept, so that
    /// `stacks` may have fewer samples.
    pub sampled: u64,
    /// The stacks, those with the most samples first.
    pub stacks: Vec<SampledStack>,
}

/// A call stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledStack {
    /// The drop site, the call site of its function, and so on.
    pub functions: Arc<[Arc<Location>]>,
    /// Sampled drops with this stack.
    pub samples: u64,
}

/// The range in which the share of all drops lies with a probability of 95 %, given that `samples` of `of` drops were
/// found: Wilson's interval.
pub fn likely_share(samples: u64, of: u64) -> (f64, f64) {
    /// The normal distribution has 95 % within so many standard deviations.
    const DEVIATIONS: f64 = 1.959_963_984_540_054;
    if of == 0 {
        return (0.0, 1.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "samples are fewer than 2^53")]
    let (found, all) = (samples as f64, of as f64);
    let share = found / all;
    let square = DEVIATIONS * DEVIATIONS;
    let center = (share + square / (2.0 * all)) / (1.0 + square / all);
    let half = DEVIATIONS / (1.0 + square / all) * (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    ((center - half).max(0.0), (center + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against values that were computed by the formula of Wilson's paper (1927) in another language.
    #[test]
    fn shares_have_a_range() {
        for (samples, of, low, high) in [
            (5, 10, 0.236_593_091, 0.763_406_909),
            (0, 10, 0.0, 0.277_532_799),
            (10, 10, 0.722_467_201, 1.0),
            (870, 1_000, 0.847_731_973, 0.889_436_225),
        ] {
            let (found_low, found_high) = likely_share(samples, of);
            assert!(
                (found_low - low).abs() < 1e-6 && (found_high - high).abs() < 1e-6,
                "{samples} of {of}: {found_low} to {found_high}"
            );
        }
        assert_eq!(likely_share(0, 0), (0.0, 1.0));
    }
}
