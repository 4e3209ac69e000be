//! Drops that one source heard and the other did not, and what explains them.

use serde::Serialize;

use super::evidence::{Cause, Clues};

/// Drops that one source did not hear: `packets = Σ explained + possible + unexplained`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// How many.
    pub packets: u64,
    /// Those that a counted cause explains: at most as many as it counted.
    pub explained: Vec<Explained>,
    /// Those left that causes may explain which happened, but were not counted.
    pub possible: u64,
    /// Those causes; none when nothing is left to explain.
    pub possible_causes: Vec<Cause>,
    /// Those that nothing explains.
    pub unexplained: u64,
}

/// A part of a gap, and its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Why.
    pub cause: Cause,
    /// How many.
    pub packets: u64,
}

impl Gap {
    /// Of `packets` drops, with what explains them at their own place, in the order given. What is left is unexplained.
    pub(super) fn new(packets: u64, causes: &[(Cause, u64)]) -> Self {
        let mut gap = Self { packets, unexplained: packets, ..Self::default() };
        for &(cause, size) in causes {
            gap.explain(cause, size);
        }
        gap
    }

    /// Takes what `cause` explains, at most `size`, out of the unexplained.
    fn explain(&mut self, cause: Cause, size: u64) {
        let packets = size.min(self.unexplained);
        if packets > 0 {
            self.unexplained -= packets;
            self.explained.push(Explained { cause, packets });
        }
    }

    /// What is left is possible, if there are causes whose size nobody knows.
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

/// Lays causes that were counted at no place in particular on what the gaps have left, then those of unknown size.
pub(super) fn spread<'g>(gaps: impl Iterator<Item = &'g mut Gap>, clues: &Clues) {
    let mut gaps: Vec<&mut Gap> = gaps.filter(|gap| gap.unexplained > 0).collect();
    for &(cause, size) in &clues.shared {
        share(&mut gaps, cause, size);
    }
    for gap in gaps {
        gap.suspect(&clues.unsized_causes);
    }
}

/// Shares `size` among the gaps in proportion to what each has left: where a queue was full it was full for all, but
/// which packets it hit nobody counted. The sum is exact: what rounding leaves goes to the first that have room.
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
