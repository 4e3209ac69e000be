//! Compares the kernel's counters with the drops, where each reading of the drops is between two readings of the counters.
//!
//! The kernel counts a packet and frees it within one RCU read section. Before a reading of the drops there is a reading of
//! the counters and a grace period, so that each packet of the counters is among the drops; each reading of the drops waits for a
//! grace period itself, so that each drop is among the counters of the reading after it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::reconcile::{Counted, Sums, Unseen, sums};
use crate::backend::counters::beside::{Readings, Rise};
use crate::domain::bracket::{BracketedCounter, Verdict};
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::{Class, Counter, Counters};

/// The greatest number of counters that are kept: those of a thousand namespaces.
const MOST_ROWS: usize = 64_000;

/// All readings so far.
#[derive(Debug)]
pub struct Brackets {
    counters: Counters,
    rows: BTreeMap<(Arc<str>, u32), Row>,
    readings: u32,
    last: Arc<Readings>,
}

/// One counter of one namespace.
#[derive(Clone, Debug)]
struct Row {
    netns_name: Option<Arc<str>>,
    first: Point,
    last: Point,
    /// The worst excess and the worst lack of drops in any bracket.
    excess: u64,
    missing: u64,
}

/// One reading of the drops, and the counter before and after it. All numbers are sums since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    before: u64,
    after: u64,
    explained: u64,
    alone: u64,
    possible: u64,
}

impl Point {
    /// The least and the greatest rise since an earlier reading of the drops.
    const fn rise(&self, since: &Self) -> [u64; 2] {
        [self.before.saturating_sub(since.after), self.after.saturating_sub(since.before)]
    }

    /// The rise since an earlier reading that is certainly none of the drops.
    const fn missing(&self, since: &Self) -> u64 {
        let explained = self.explained.saturating_sub(since.explained);
        let possible = self.possible.saturating_sub(since.possible);
        self.rise(since)[0].saturating_sub(explained).saturating_sub(possible)
    }

    /// The drops since an earlier reading that the counter certainly did not count.
    const fn excess(&self, since: &Self) -> u64 {
        self.alone.saturating_sub(since.alone).saturating_sub(self.rise(since)[1])
    }
}

impl Brackets {
    /// Without readings. The counters have their classes on the running kernel.
    pub fn new(counters: Counters) -> Self {
        Self { counters, rows: BTreeMap::new(), readings: 0, last: Arc::default() }
    }

    /// Adds a reading of the drops, and the readings of the counters before and after it.
    pub fn add(
        &mut self,
        around: [&Arc<Readings>; 2],
        drops: &[DropTotal],
        overflow: &[OverflowTotal],
        unseen: Unseen,
    ) {
        let counters: Vec<_> = self.counters.iter().collect();
        let sums = sums(&counters, drops, overflow);
        let [before, after] = around.map(|readings| by_key(&readings.rises));
        let in_both = around[0].read.iter().filter(|inum| around[1].read.contains(inum));
        for netns in in_both {
            for name in &around[1].present {
                let key = (&**name, *netns);
                let (before, after) = (before.get(&key), after.get(&key));
                let mut point = point(name, *netns, &sums, unseen);
                point.before = before.map_or(0, |rise| rise.rise);
                point.after = after.map_or(point.before, |rise| rise.rise);
                let netns_name = after.and_then(|rise| rise.netns_name.clone());
                if let Some(row) = self.rows.get_mut(&(Arc::clone(name), *netns)) {
                    row.add(point, netns_name);
                } else if self.rows.len() < MOST_ROWS {
                    let row = Row { netns_name, first: point, last: point, excess: 0, missing: 0 };
                    self.rows.insert((Arc::clone(name), *netns), row);
                }
            }
        }
        self.readings += 1;
        self.last = Arc::clone(around[1]);
    }

    /// The number of readings of the drops.
    pub const fn readings(&self) -> u32 {
        self.readings
    }

    /// The last reading of the counters.
    pub const fn last(&self) -> &Arc<Readings> {
        &self.last
    }

    /// The counters that moved, and those that should have, the worst first.
    pub fn rows(&self) -> Vec<BracketedCounter> {
        let shown = |((name, netns), row): (&(Arc<str>, u32), &Row)| {
            let (_, counter) = self.counters.get(name)?;
            let has_fallen = self.last.fallen.iter().any(|(fallen, inum)| fallen == name && inum == netns);
            row.shown(name, *netns, counter, has_fallen)
        };
        let mut rows: Vec<_> = self.rows.iter().filter_map(shown).collect();
        rows.sort_by(|one, other| {
            one.verdict
                .rank()
                .cmp(&other.verdict.rank())
                .then(other.most.cmp(&one.most))
                .then_with(|| one.name.cmp(&other.name))
                .then(one.netns.cmp(&other.netns))
        });
        rows
    }
}

type Rises<'r> = HashMap<(&'r str, u32), &'r Rise>;

fn by_key(rises: &[Rise]) -> Rises<'_> {
    rises.iter().map(|rise| ((&*rise.counter, rise.netns), rise)).collect()
}

/// The drops of a counter.
fn point(name: &str, netns: u32, sums: &Sums<'_>, unseen: Unseen) -> Point {
    let of = |netns| sums.get(&(name, netns)).copied().unwrap_or_default();
    let (here, anywhere): (Counted, Counted) = (of(netns), of(0));
    let possible = [here.possible, anywhere.certain, anywhere.possible, unseen.packets];
    let possible = possible.into_iter().fold(0, u64::saturating_add);
    Point { explained: here.certain, alone: here.alone, possible, ..Point::default() }
}

impl Row {
    fn add(&mut self, point: Point, netns_name: Option<Arc<str>>) {
        for since in [&self.first, &self.last] {
            self.excess = self.excess.max(point.excess(since));
            self.missing = self.missing.max(point.missing(since));
        }
        self.last = point;
        self.netns_name = netns_name.or_else(|| self.netns_name.take());
    }

    /// The row as it is shown; `None` if nothing moved. A counter that fell has no rise.
    fn shown(&self, name: &Arc<str>, netns: u32, counter: &Counter, has_fallen: bool) -> Option<BracketedCounter> {
        let [least, most] = self.last.rise(&self.first);
        let verdict = if has_fallen { Verdict::Unknown } else { self.verdict(counter.class) };
        if most == 0 && !verdict.is_wrong() && verdict != Verdict::Unknown {
            return None;
        }
        let is_compared = counter.class.is_compared() && verdict != Verdict::Unknown;
        Some(BracketedCounter {
            name: Arc::clone(name),
            class: counter.class.name(),
            of: counter.of.clone(),
            netns,
            netns_name: self.netns_name.clone(),
            least,
            most,
            explained: self.last.explained.saturating_sub(self.first.explained),
            possible: self.last.possible.saturating_sub(self.first.possible),
            outside: if is_compared { self.last.missing(&self.first) } else { 0 },
            verdict,
        })
    }

    const fn verdict(&self, class: Class) -> Verdict {
        match class {
            Class::AtMost | Class::Copy => Verdict::NotCompared,
            _ if self.excess > 0 => Verdict::Excess(self.excess),
            Class::Exact if self.missing > 0 => Verdict::Missing(self.missing),
            Class::NotTraceable if self.last.missing(&self.first) > 0 => Verdict::Outside,
            Class::Exact | Class::NotTraceable => Verdict::Agrees,
        }
    }
}

#[cfg(test)]
#[path = "bracket_tests.rs"]
mod tests;
