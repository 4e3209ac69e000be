//! Drops that one backend reported and the other one did not, and their causes.

use serde::Serialize;

use super::evidence::{Cause, Clues};

/// Drops that one backend did not report: `packets = Σ explained + possible + unexplained`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Number of drops.
    pub packets: u64,
    /// Drops that a counted cause explains: at most as many as the cause counted.
    pub explained: Vec<Explained>,
    /// Further drops that may be due to causes which happened, but were not counted.
    pub possible: u64,
    /// The causes of `possible`; empty if no drop is left to explain.
    pub possible_causes: Vec<Cause>,
    /// Drops without an explanation.
    pub unexplained: u64,
}

/// A part of a gap, and its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The cause.
    pub cause: Cause,
    /// Number of drops.
    pub packets: u64,
}

impl Gap {
    /// Makes a gap of `packets` drops, and explains them by the causes of their own site, in the given order. The rest
    /// is unexplained.
    pub(super) fn new(packets: u64, causes: &[(Cause, u64)]) -> Self {
        let mut gap = Self { packets, unexplained: packets, ..Self::default() };
        for &(cause, size) in causes {
            gap.explain(cause, size);
        }
        gap
    }

    /// Moves at most `size` unexplained drops to `cause`.
    fn explain(&mut self, cause: Cause, size: u64) {
        let packets = size.min(self.unexplained);
        if packets > 0 {
            self.unexplained -= packets;
            self.explained.push(Explained { cause, packets });
        }
    }

    /// Makes the unexplained drops possible, if there are causes of unknown size.
    fn suspect(&mut self, causes: &[Cause]) {
        if self.unexplained > 0 && !causes.is_empty() {
            self.possible = std::mem::take(&mut self.unexplained);
            self.possible_causes = causes.to_vec();
        }
    }

    /// Drops that counted causes explain.
    pub(crate) fn explained_packets(&self) -> u64 {
        self.explained.iter().map(|part| part.packets).sum()
    }
}

/// Applies causes that are not bound to a site to the rest of the gaps, then those of unknown size.
pub(super) fn spread<'g>(gaps: impl Iterator<Item = &'g mut Gap>, clues: &Clues) {
    let mut gaps: Vec<&mut Gap> = gaps.filter(|gap| gap.unexplained > 0).collect();
    for &(cause, size) in &clues.shared {
        share(&mut gaps, cause, size);
    }
    for gap in gaps {
        gap.suspect(&clues.unsized_causes);
    }
}

/// Divides `size` among the gaps in proportion to their unexplained drops: a full queue was full for all sites, but
/// nobody counted the packets of each. The sum is exact: the first gaps with unexplained drops take the remainder of
/// the rounding.
fn share(gaps: &mut [&mut Gap], cause: Cause, size: u64) {
    let left: u128 = gaps.iter().map(|gap| u128::from(gap.unexplained)).sum();
    if left == 0 {
        return;
    }
    let size = u128::from(size).min(left);
    let parts: Vec<u128> = gaps.iter().map(|gap| u128::from(gap.unexplained) * size / left).collect();
    let mut rest = size - parts.iter().sum::<u128>();
    for (gap, part) in gaps.iter_mut().zip(parts) {
        let extra = rest.min(u128::from(gap.unexplained) - part);
        rest -= extra;
        gap.explain(cause, u64::try_from(part + extra).unwrap_or(u64::MAX));
    }
}
