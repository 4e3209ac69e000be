//! Compares the kernel's counters with the drops, where each reading of the drops is between two readings of the counters.
//!
//! The kernel counts a packet and frees it within one RCU read section. Before a reading of the drops there is a reading of
//! the counters and a grace period, so that each packet of the counters is among the drops; each reading of the drops waits for a
//! grace period itself, so that each drop is among the counters of the reading after it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::reconcile::{Sums, Unseen, sums};
use crate::backend::counters::beside::{Key, Readings, Rise};
use crate::domain::bracket::{BracketedCounter, Verdict};
use crate::domain::reconciliation::Interface;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::{Class, Counter, Counters, Scope};

/// The greatest number of counters that are kept: those of a thousand namespaces.
const MOST_ROWS: usize = 64_000;

/// All readings so far.
#[derive(Debug)]
pub struct Brackets {
    counters: Counters,
    rows: BTreeMap<Key, Row>,
    readings: u32,
    last: Arc<Readings>,
}

/// One counter.
#[derive(Clone, Debug, Default)]
struct Row {
    /// The last rise; 0 if there was none.
    rise: Rise,
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

    /// The rise since an earlier reading that no drop certainly explains.
    const fn unexplained(&self, since: &Self) -> u64 {
        self.rise(since)[0].saturating_sub(self.explained.saturating_sub(since.explained))
    }

    /// The rise since an earlier reading that is certainly none of the drops.
    const fn missing(&self, since: &Self) -> u64 {
        self.unexplained(since).saturating_sub(self.possible.saturating_sub(since.possible))
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
        for key in keys(&self.counters, around) {
            let (before, after) = (before.get(&key), after.get(&key));
            let mut point = point(&self.counters, &key, &sums, unseen);
            point.before = before.map_or(0, |rise| rise.rise);
            point.after = after.map_or(point.before, |rise| rise.rise);
            keep(&mut self.rows, &key, point, after.copied());
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
        let shown = |(key, row): (&Key, &Row)| {
            let (_, counter) = self.counters.get(&key.0)?;
            row.shown(key, counter, &self.last)
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

fn by_key(rises: &[Rise]) -> HashMap<Key, &Rise> {
    rises.iter().map(|rise| (rise.key(), rise)).collect()
}

/// The counters that were read before and after.
fn keys(counters: &Counters, [before, after]: [&Arc<Readings>; 2]) -> Vec<Key> {
    let namespaces = || after.read.iter().filter(|netns| before.read.contains(netns)).map(|netns| (*netns, 0));
    let interfaces = || after.interfaces.intersection(&before.interfaces).copied();
    let of = |name: &Arc<str>| -> Vec<Key> {
        let owned = |(netns, ifindex)| (Arc::clone(name), netns, ifindex);
        match counters.get(name).map(|(_, counter)| counter.scope) {
            Some(Scope::Host) => vec![owned(((0, 0), 0))],
            Some(Scope::Interface) => interfaces().map(owned).collect(),
            _ => namespaces().map(owned).collect(),
        }
    };
    after.present.iter().filter(|name| before.present.contains(name)).flat_map(of).collect()
}

/// Adds a reading to the row of a counter, if there is room for the row.
fn keep(rows: &mut BTreeMap<Key, Row>, key: &Key, point: Point, rise: Option<&Rise>) {
    let has_room = rows.len() < MOST_ROWS;
    let row = match rows.entry(key.clone()) {
        Entry::Occupied(row) => row.into_mut(),
        Entry::Vacant(_) if !has_room => return,
        Entry::Vacant(row) => row.insert(Row { first: point, last: point, ..Row::default() }),
    };
    row.add(point);
    if let Some(rise) = rise {
        row.rise = rise.clone();
    }
}

/// The drops of a counter.
fn point(counters: &Counters, (name, (netns, _), ifindex): &Key, sums: &Sums<'_>, unseen: Unseen) -> Point {
    let scope = counters.get(name).map(|(_, counter)| counter.scope).unwrap_or_default();
    let (here, wider) = sums.of(name, scope, *netns, *ifindex);
    let possible = here.possible.saturating_add(wider).saturating_add(unseen.packets);
    Point { explained: here.certain, alone: here.alone, possible, ..Point::default() }
}

impl Row {
    fn add(&mut self, point: Point) {
        for since in [&self.first, &self.last] {
            self.excess = self.excess.max(point.excess(since));
            self.missing = self.missing.max(point.missing(since));
        }
        self.last = point;
    }

    /// The row as it is shown; `None` if nothing moved. A counter that fell has no rise. `readings` are the last ones of
    /// the counters, which have the names of the namespaces of counters that did not rise.
    fn shown(&self, key: &Key, counter: &Counter, readings: &Readings) -> Option<BracketedCounter> {
        let (name, netns, ifindex) = key;
        let has_fallen = readings.fallen.contains(key);
        let interface = || (*ifindex != 0).then_some(Interface { ifindex: *ifindex, name: None });
        let [least, most] = self.last.rise(&self.first);
        let verdict = if has_fallen { Verdict::Unknown } else { self.verdict(counter.class) };
        if most == 0 && !verdict.is_wrong() && verdict != Verdict::Unknown {
            return None;
        }
        let is_compared = counter.class.is_compared() && !matches!(verdict, Verdict::Unknown | Verdict::NotCompared);
        Some(BracketedCounter {
            name: Arc::clone(name),
            class: counter.class.name(),
            of: counter.of.clone(),
            netns: netns.0,
            netns_name: self.rise.netns_name.as_ref().or_else(|| readings.names.get(netns)).cloned(),
            interface: self.rise.interface.clone().or_else(interface),
            least,
            most,
            explained: self.last.explained.saturating_sub(self.first.explained),
            possible: self.last.possible.saturating_sub(self.first.possible),
            outside: if is_compared { self.last.missing(&self.first) } else { 0 },
            verdict,
        })
    }

    const fn verdict(&self, class: Class) -> Verdict {
        let undecided = self.last.unexplained(&self.first);
        match class {
            _ if self.rise.is_of_others => Verdict::NotCompared,
            Class::AtMost | Class::Copy | Class::NoLoss => Verdict::NotCompared,
            Class::Exact | Class::NotTraceable if self.excess > 0 => Verdict::Excess(self.excess),
            Class::Exact if self.missing > 0 => Verdict::Missing(self.missing),
            Class::NotTraceable | Class::PartlyTraceable if self.last.missing(&self.first) > 0 => Verdict::Outside,
            Class::NotTraceable | Class::PartlyTraceable if undecided > 0 => Verdict::Undecided(undecided),
            Class::Exact | Class::NotTraceable | Class::PartlyTraceable => Verdict::Agrees,
        }
    }
}

#[cfg(test)]
#[path = "bracket_tests.rs"]
mod tests;
