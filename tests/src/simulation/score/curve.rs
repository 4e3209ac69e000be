//! Precision and recall by score.

use super::super::truth::Truth;
use super::{Score, Verdict, ratio};

/// The quality of the claims whose score is at least a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The bound; `None`: also claims without a score.
    pub least: Option<f64>,
    /// Right claims.
    pub right: usize,
    /// Wrong claims.
    pub wrong: usize,
    /// Share of faults that were found.
    pub recall: Option<f64>,
    /// Share of right claims among right and wrong ones.
    pub precision: Option<f64>,
    /// Wrong claims as a share of the pairs of a host and a reason with drops that have no fault.
    pub false_positives: Option<f64>,
}

/// A point for each score that claims have, from the highest on.
pub fn curve(truth: &Truth, score: &Score) -> Vec<Point> {
    let pairs = usize::try_from(truth.fleet.pairs).unwrap_or(usize::MAX);
    let faulty: usize = truth.faults.iter().map(|fault| fault.hosts).sum();
    let negatives = pairs.saturating_sub(faulty);
    let (mut right, mut wrong, mut found) = (0, 0, 0);
    let mut points = Vec::new();
    for (at, claim) in score.claims.iter().enumerate() {
        right += usize::from(claim.verdict == Verdict::Right);
        wrong += usize::from(claim.verdict == Verdict::Wrong);
        found += claim.found.len();
        if score.claims.get(at + 1).is_none_or(|next| next.score != claim.score) {
            points.push(Point {
                least: claim.score,
                right,
                wrong,
                recall: ratio(found, truth.faults.len()),
                precision: ratio(right, right + wrong),
                false_positives: ratio(wrong, negatives),
            });
        }
    }
    points
}
