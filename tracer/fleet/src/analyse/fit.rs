//! The dispersion of hosts' rates, from their upper quantiles, which a few outliers do not move.
//!
//! Only the upper side matters for drops that are too many. The greatest of several quantiles' deviations counts, so that a
//! minority of hosts with another role, or hosts that drop in bursts, widen the dispersion instead of standing out.

use std::ops::Range;

use super::build::figure;
use super::chance::{Dispersion, POWERS, scaled};

/// Shares of hosts below, and the normal scores of these quantiles.
const QUANTILES: [(f64, f64); 6] = [
    (0.75, 0.674_489_750),
    (0.84, 0.994_457_883),
    (0.90, 1.281_551_566),
    (0.95, 1.644_853_627),
    (0.98, 2.053_748_911),
    (0.99, 2.326_347_874),
];
/// The two of them whose relation tells the power.
const INNER: usize = 1;
const OUTER: usize = 5;
/// The first quantile that a minority of the hosts can move.
const MINORITY: usize = 3;
/// What is that near to the quantile of 90 % has a probability above one in a hundred, whatever the dispersion.
const BEYOND_USUAL: f64 = 1.2;
/// A minority that differs in one series far more than in others, by this factor, is one of hosts that stand out.
const UNUSUAL: f64 = 2.0;
/// A quantile counts if at least this many hosts are above it: fewer may all be outliers. Of a few hosts, the lower quantiles
/// count if a single outlier cannot move them.
const ABOVE: [f64; QUANTILES.len()] = [1.5, 1.5, 4.0, 4.0, 4.0, 4.0];
/// Below this dispersion the power neither can be known nor matters.
const NARROW: f64 = 0.1;
/// Hosts for which the typical dispersion of other series counts.
const TYPICAL_COUNTS: f64 = 10.0;
/// A deviation by extreme quantiles is as uncertain as one by all of this share of the hosts.
const EFFICIENCY: f64 = 0.25;
/// So many series more have the usual deviation.
const USUAL_COUNTS: f64 = 3.0;
/// A series tells what is typical if it has this many hosts.
const MANY: usize = 50;
/// Its own power counts as much as the typical one if a series has this many hosts, at a deviation of one.
const POWER_COUNTS: f64 = 2_000.0;
/// The least deviation: the rates of hosts in use do not come closer.
const FLOOR: f64 = 0.1;
/// Share of hosts beyond the quantile by which the tail of all series together is checked, and the normal score of it.
const TAIL: (f64, f64) = (0.002, 2.878_161_739);
/// The tail is checked if at least this many hosts, of all series together, are compared.
const CHECKED: usize = 2_000;

/// A host's residual: the logarithm of the ratio of its count to what is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Residual {
    pub(super) value: f64,
    /// The variance that counts of this size have by chance.
    pub(super) noise: f64,
}

/// What is known of the dispersion of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    /// Hosts.
    pub(super) count: usize,
    /// Logarithms of ratios to the median at [`QUANTILES`], without the noise of counts; `None` if too few hosts are above.
    upper: [Option<f64>; QUANTILES.len()],
    /// The greatest residuals without noise, for [`Typical::of`].
    tail: Vec<f32>,
}

impl Fit {
    /// Returns `None` without hosts. The residuals are around zero, and are reordered.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hosts")]
    pub(super) fn of(residuals: &mut [Residual]) -> Option<Self> {
        if residuals.is_empty() {
            return None;
        }
        let order = |one: &Residual, other: &Residual| {
            one.value.total_cmp(&other.value).then(one.noise.total_cmp(&other.noise))
        };
        let (length, count) = (residuals.len(), residuals.len() as f64);
        let mut upper = [None; QUANTILES.len()];
        // From the greatest: each selection leaves the lower values before it.
        let mut below = length;
        for (quantile, &(share, score)) in QUANTILES.iter().enumerate().rev() {
            let at = ((count * share) as usize).min(length - 1);
            if count * (1.0 - share) >= ABOVE[quantile] {
                let (_, &mut residual, _) = residuals[..below].select_nth_unstable_by(at, order);
                upper[quantile] = Some(without_noise(residual, score));
                below = at + 1;
            }
        }
        let beyond = (count * 10.0 * TAIL.0) as usize;
        if beyond > 0 {
            residuals.select_nth_unstable_by(length - beyond, order);
        }
        let tail = residuals[length - beyond..].iter().map(|&residual| without_noise(residual, TAIL.1) as f32);
        Some(Self { count: length, upper, tail: tail.collect() })
    }

    /// A residual that cannot stand out, because many hosts have it; far below zero if the hosts are too few to tell.
    pub(super) fn usual(&self) -> f64 {
        self.upper[MINORITY - 1].map_or(f64::MIN, |residual| BEYOND_USUAL * residual)
    }

    /// The power on whose scale the upper quantiles are normal; `None` if it is not known.
    fn power(&self) -> Option<f64> {
        let [inner, outer] = [self.upper[INNER]?, self.upper[OUTER]?];
        if inner < NARROW {
            return None;
        }
        let is_heavier = |power| scaled(outer, power) / QUANTILES[OUTER].1 > scaled(inner, power) / QUANTILES[INNER].1;
        let [mut low, mut high] = POWERS;
        for _ in 0..30 {
            let middle = f64::midpoint(low, high);
            *(if is_heavier(middle) { &mut high } else { &mut low }) = middle;
        }
        Some(f64::midpoint(low, high))
    }

    /// The greatest deviation of some quantiles; `None` with too few hosts for any of them.
    fn deviation(&self, power: f64, quantiles: Range<usize>) -> Option<f64> {
        let quantiles = self.upper[quantiles.clone()].iter().zip(&QUANTILES[quantiles]);
        quantiles.filter_map(|(value, (_, score))| Some(scaled((*value)?, power) / score)).reduce(f64::max)
    }

    /// The deviation by most hosts, and by a minority.
    fn deviations(&self, power: f64) -> Option<(f64, f64)> {
        let most = self.deviation(power, 0..MINORITY)?;
        Some((most, self.deviation(power, MINORITY..QUANTILES.len()).unwrap_or(most)))
    }
}

fn without_noise(residual: Residual, score: f64) -> f64 {
    let square = residual.value * residual.value - score * score * residual.noise;
    if residual.value > 0.0 { square.max(0.0).sqrt() } else { 0.0 }
}

/// What is typical of series of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Typical {
    /// The deviation by most hosts, and by a minority.
    most: f64,
    minority: f64,
    power: f64,
    /// The deviation by a minority against that by most hosts, where there are enough hosts to tell; at least 1.
    ratio: f64,
    /// Whether a minority that differs is one of hosts that stand out. Otherwise it may have another role.
    has_no_roles: bool,
    /// By what factor the tail of all series is heavier than their dispersions say; at least 1.
    heavier: f64,
}

impl Typical {
    /// `usual` is the deviation that counts as that of a few more series.
    pub(super) fn of(fits: &[&Fit], usual: f64, has_no_roles: bool) -> Self {
        let large = || fits.iter().filter(|fit| fit.count >= MANY);
        let power = middle(large().filter_map(|fit| fit.power())).unwrap_or_default();
        let of = |deviation: fn((f64, f64)) -> f64| {
            let known: Vec<_> = large().filter_map(|fit| fit.deviations(power)).map(deviation).collect();
            let count = figure(known.len());
            let middle = middle(known.into_iter()).unwrap_or_default();
            ((count * middle * middle + USUAL_COUNTS * usual * usual) / (count + USUAL_COUNTS)).sqrt()
        };
        let mut typical =
            Self { most: of(|it| it.0), minority: of(|it| it.1), power, has_no_roles, ratio: 1.0, heavier: 1.0 };
        let whole = large().filter(|fit| fit.upper[OUTER].is_some());
        let ratios = whole.filter_map(|fit| fit.deviations(power)).map(|(most, minority)| minority / most.max(FLOOR));
        typical.ratio = middle(ratios).unwrap_or(1.0).max(1.0);
        typical.heavier = typical.heavier(fits);
        typical
    }

    /// The dispersion of a series: its own, drawn towards the typical one if it has few hosts.
    #[expect(clippy::cast_precision_loss, reason = "hosts of a fleet")]
    pub(super) fn dispersion(&self, fit: &Fit) -> Dispersion {
        let count = fit.count as f64;
        let usual = self.most.max(self.minority);
        let power = fit.power().map_or(self.power, |own| {
            let weight = count * usual.powi(2);
            (own * weight + self.power * POWER_COUNTS) / (weight + POWER_COUNTS)
        });
        let own = fit.deviations(power).map(|(most, minority)| {
            let usual = self.ratio * most.max(FLOOR);
            let minority = if fit.upper[OUTER].is_some() { minority } else { minority.max(usual) };
            let unusual = UNUSUAL * usual.max(self.ratio * self.most);
            most.max(if self.has_no_roles { minority.min(unusual) } else { minority })
        });
        let weight = if own.is_some() { count } else { 0.0 };
        let variance = weight * own.unwrap_or_default().powi(2) + TYPICAL_COUNTS * usual.powi(2);
        let deviation = (variance / (weight + TYPICAL_COUNTS)).sqrt().max(FLOOR);
        Dispersion { deviation: deviation * self.heavier, power, freedom: weight * EFFICIENCY + TYPICAL_COUNTS }
    }

    /// By what factor the deviations are to be widened for the tail of all series.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hosts")]
    fn heavier(&self, fits: &[&Fit]) -> f64 {
        let all: usize = fits.iter().map(|fit| fit.count).sum();
        if all < CHECKED {
            return 1.0;
        }
        let scores = fits.iter().flat_map(|fit| {
            let dispersion = self.dispersion(fit);
            fit.tail.iter().map(move |&residual| dispersion.score(f64::from(residual)))
        });
        let mut scores: Vec<_> = scores.collect();
        scores.sort_unstable_by(|one, other| other.total_cmp(one));
        scores.get((all as f64 * TAIL.0) as usize).map_or(1.0, |score| (score / TAIL.1).max(1.0))
    }
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    super::robust::median(&mut values.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_distr::{Distribution as _, Gamma, LogNormal};
    use rand_xorshift::XorShiftRng;

    use super::*;

    fn residuals(rates: impl Iterator<Item = f64>) -> Vec<Residual> {
        let mut values: Vec<_> = rates.map(f64::ln).collect();
        let median = super::super::robust::median(&mut values).unwrap();
        values.into_iter().map(|value| Residual { value: value - median, noise: 0.0 }).collect()
    }

    #[test]
    fn power_and_deviation_are_those_of_the_distribution() {
        let mut chance = XorShiftRng::seed_from_u64(1);
        let log_normal = LogNormal::new(3.0, 0.8).unwrap();
        let fit = Fit::of(&mut residuals((0..20_000).map(|_| log_normal.sample(&mut chance)))).unwrap();
        let (power, deviation) = (fit.power().unwrap(), fit.deviations(0.0).unwrap().1);
        assert!(power.abs() < 0.08 && (deviation - 0.8).abs() < 0.04, "{power} {deviation}");
        let gamma = Gamma::new(2.0, 1.0).unwrap();
        let fit = Fit::of(&mut residuals((0..20_000).map(|_| gamma.sample(&mut chance)))).unwrap();
        let power = fit.power().unwrap();
        assert!((0.2..=0.334).contains(&power), "{power}");
    }

    #[test]
    fn outliers_do_not_widen_and_other_roles_do() {
        let mut chance = XorShiftRng::seed_from_u64(2);
        let log_normal = LogNormal::new(0.0, 0.3).unwrap();
        let mut with = |outliers: usize, has_no_roles: bool| {
            let rates = (0..1_000).map(|host| log_normal.sample(&mut chance) * if host < outliers { 1e4 } else { 1.0 });
            let fit = Fit::of(&mut residuals(rates)).unwrap();
            Typical::of(&[], 0.3, has_no_roles).dispersion(&fit).deviation
        };
        assert!(with(3, false) < 0.36);
        assert!(with(60, false) > 3.0);
        assert!(with(60, true) < 0.8);
    }

    #[test]
    fn few_hosts_have_the_typical_dispersion() {
        let fit = Fit::of(&mut residuals([1.0; 6].into_iter())).unwrap();
        let dispersion = Typical::of(&[], 1.0, false).dispersion(&fit);
        assert!(dispersion.deviation > 0.7 && dispersion.freedom < 17.0, "{dispersion:?}");
        assert_eq!(Fit::of(&mut []), None);
    }
}
