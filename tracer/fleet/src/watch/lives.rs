//! The lives of findings over the rounds of a watch: each opens once, goes on, and closes when it has been absent for some
//! rounds. A finding that comes and goes in between stays open.

use std::collections::{BTreeMap, BTreeSet};

use droptrace_base::domain::event::Timestamp;
use serde::{Deserialize, Serialize};

use super::known::Known;

/// The life of a finding.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Life {
    /// The time of the round that opened it, in nanoseconds since the Unix epoch.
    pub(crate) opened: u64,
    /// The time of the last round that had it.
    pub(crate) seen: u64,
    /// Rounds without it since then.
    pub(crate) absent: u32,
    /// How often it came back before it was closed.
    pub(crate) returned: u32,
    /// The finding as it was in the last round that had it.
    pub(crate) finding: Known,
}

/// What a round is for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// The finding is new.
    Opened,
    /// The finding was open before, and is not closed: it may be absent for now.
    Ongoing,
    /// The finding has been absent for so many rounds that it is closed.
    Closed,
}

/// The findings that are open.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Lives(BTreeMap<String, Life>);

/// The result of a round.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Round {
    /// All findings that were open or are, each with its identity.
    pub(crate) lives: Vec<(Phase, String, Life)>,
    /// New findings that are not kept.
    pub(crate) beyond: usize,
}

impl Lives {
    /// The most findings that are kept. A fleet has a few; beyond the limit, new ones are counted and not kept.
    pub(crate) const MOST: usize = 10_000;

    /// Whether findings are open.
    pub(crate) fn are_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Adds the findings of a round. Those that were absent for `patience` rounds are closed.
    pub(crate) fn round(&mut self, now: Timestamp, findings: Vec<(String, Known)>, patience: u32) -> Round {
        let mut round = Round::default();
        for life in self.0.values_mut() {
            life.absent = life.absent.saturating_add(1);
        }
        let mut opened = BTreeSet::new();
        for (id, finding) in findings {
            let room = self.0.len() < Self::MOST;
            match self.0.get_mut(&id) {
                Some(life) => life.go_on(now, finding),
                None if room => {
                    opened.insert(id.clone());
                    self.0.insert(id, Life { opened: now.0, seen: now.0, absent: 0, returned: 0, finding });
                }
                None => round.beyond += 1,
            }
        }
        for (id, life) in &self.0 {
            let phase = match life.absent {
                _ if opened.contains(id) => Phase::Opened,
                absent if absent >= patience => Phase::Closed,
                _ => Phase::Ongoing,
            };
            round.lives.push((phase, id.clone(), life.clone()));
        }
        self.0.retain(|_, life| life.absent < patience);
        round
    }
}

impl Life {
    fn go_on(&mut self, now: Timestamp, finding: Known) {
        // All lives were taken to be absent in this round.
        if self.absent > 1 {
            self.returned = self.returned.saturating_add(1);
        }
        // The same finding twice in a round is one.
        if self.absent > 0 {
            (self.seen, self.absent, self.finding) = (now.0, 0, finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The phases of the findings of a round.
    fn phases(lives: &mut Lives, second: u64, ids: &[&str]) -> Vec<(Phase, String, u32, u32)> {
        let findings = ids.iter().map(|id| ((*id).to_owned(), Known::sample(&format!("{id} at {second}")))).collect();
        let round = lives.round(Timestamp(second * 1_000_000_000), findings, 3);
        assert_eq!(round.beyond, 0);
        round.lives.into_iter().map(|(phase, id, life)| (phase, id, life.absent, life.returned)).collect()
    }

    fn phase(phase: Phase, id: &str, absent: u32, returned: u32) -> (Phase, String, u32, u32) {
        (phase, id.to_owned(), absent, returned)
    }

    #[test]
    fn a_finding_opens_goes_on_and_closes() {
        let mut lives = Lives::default();
        assert_eq!(phases(&mut lives, 1, &["a"]), [phase(Phase::Opened, "a", 0, 0)]);
        assert_eq!(phases(&mut lives, 2, &["a"]), [phase(Phase::Ongoing, "a", 0, 0)]);
        for absent in 1..3 {
            assert_eq!(phases(&mut lives, 2 + u64::from(absent), &[]), [phase(Phase::Ongoing, "a", absent, 0)]);
        }
        assert_eq!(phases(&mut lives, 5, &[]), [phase(Phase::Closed, "a", 3, 0)]);
        assert_eq!((phases(&mut lives, 6, &[]), &lives), (vec![], &Lives::default()));
        assert_eq!(phases(&mut lives, 7, &["a"]), [phase(Phase::Opened, "a", 0, 0)]);
    }

    #[test]
    fn a_finding_that_comes_and_goes_stays_open() {
        let mut lives = Lives::default();
        phases(&mut lives, 0, &["a", "a", "b"]);
        for round in 1..=4 {
            assert_eq!(
                phases(&mut lives, 10 * round, &["b"])[0],
                phase(Phase::Ongoing, "a", 1, u32::try_from(round).unwrap() - 1)
            );
            assert_eq!(
                phases(&mut lives, 10 * round + 1, &["a"])[0],
                phase(Phase::Ongoing, "a", 0, u32::try_from(round).unwrap())
            );
        }
        let life = &lives.0["a"];
        assert_eq!((life.opened, life.seen, &*life.finding.title), (0, 41_000_000_000, "a at 41"));
    }

    #[test]
    fn findings_have_a_bound() {
        let many = (0..Lives::MOST + 5).map(|id| (id.to_string(), Known::sample("x"))).collect();
        let mut lives = Lives::default();
        let round = lives.round(Timestamp(0), many, 3);
        assert_eq!((round.beyond, round.lives.len(), lives.0.len()), (5, Lives::MOST, Lives::MOST));
    }
}
