//! The fleet as snapshots tell it, added up one after another: what is kept grows with hosts times places, not with
//! what was read.

mod files;
mod load;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use droptrace_base::domain::event::Timestamp;
use droptrace_base::snapshot::{Row, Snapshot, Source};

pub use files::Files;
pub use load::{Loaded, load};

use super::analyse::Options;
use super::model::{Bounds, Burst, Fleet, Full, Host, HostId, Place};

/// Shorter bursts than this are not told: a few packets at once would be a high rate.
const SHORTEST: f64 = 1.0;

/// Why a snapshot was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// It counts what another one of the same host has counted already.
    #[error("{host} is told of twice for the same time: these drops are counted already")]
    Overlap {
        /// The host.
        host: String,
    },
    /// With it the sum of the fleet would be rounded.
    #[error("{host} tells of so many drops that those of the fleet add up to more than 2^64 - 1")]
    TooMany {
        /// The host.
        host: String,
    },
    /// It ends later than can be told.
    #[error("{host} tells of a time beyond the year 2554")]
    Late {
        /// The host.
        host: String,
    },
    /// What is kept of a fleet has a bound.
    #[error("the fleet has no room for it")]
    Full(#[source] Full),
}

/// The sum so far.
#[derive(Clone, Debug)]
pub struct Merge {
    fleet: Fleet,
    /// Times that are counted, in nanoseconds since the Unix epoch: from when to when. No two of a host overlap.
    times: HashMap<HostId, BTreeMap<u64, u64>>,
    /// Hosts by the name that they go by.
    machines: HashMap<String, Machines>,
    storm_rate: f64,
    /// All drops so far, also lost ones: no sum exceeds it.
    counted: u64,
    bounds: Bounds,
}

/// Hosts of one name.
#[derive(Clone, Debug, Default)]
struct Machines {
    /// The first one first.
    all: Vec<HostId>,
    by_machine: HashMap<String, HostId>,
    /// The one that did not tell its machine.
    unknown: Option<HostId>,
}

impl Default for Merge {
    fn default() -> Self {
        Self::with_storms_from(Options::default().storm_rate)
    }
}

impl Merge {
    /// Keeps bursts of at least so many packets a second (`--storm-rate`).
    pub fn with_storms_from(storm_rate: f64) -> Self {
        Self {
            fleet: Fleet::default(),
            times: HashMap::default(),
            machines: HashMap::default(),
            storm_rate,
            counted: 0,
            bounds: Bounds::DEFAULT,
        }
    }

    /// What came of it.
    pub fn into_fleet(mut self) -> Fleet {
        let mut of_several = Vec::new();
        for (name, machines) in &self.machines {
            for &id in &machines.all {
                self.fleet.host_mut(id).node = Some(name.clone());
            }
            match *machines.all {
                [alone] => self.fleet.rename(alone, name.clone()),
                _ => of_several.extend(machines.all.iter().map(|id| (*id, name))),
            }
        }
        // In order, and after those that have their names by themselves, so that each run makes the same names.
        of_several.sort_unstable();
        for (id, name) in of_several {
            let mut called = of_machine(name, self.fleet.hosts()[id.0 as usize].machine.as_deref());
            while self.fleet.find(&called).is_some() {
                called.push_str(" (another)");
            }
            self.fleet.rename(id, called);
        }
        self.fleet
    }

    /// Adds a snapshot, with what else is known of its host. Two of the same host add up, unless they tell of the same
    /// time.
    pub fn add(&mut self, snapshot: &Snapshot, folder: Option<&str>) -> Result<(), NotAdded> {
        // Looked at before: what one snapshot tells has a bound of its own.
        self.fleet.check(self.bounds).map_err(NotAdded::Full)?;
        let counted = self.counted_with(snapshot)?;
        let host = self.enter(snapshot)?;
        self.counted = counted;
        let is_latest = self.times[&host].last_key_value().is_none_or(|(start, _)| *start <= snapshot.started_at.0);
        add_up(self.fleet.host_mut(host), snapshot);
        if is_latest {
            self.fleet.tell(host, |told| tell_of(told, snapshot, folder));
        }
        for row in &snapshot.drops {
            if row.is_packet() || row.netlink {
                self.add_row(host, row, snapshot.duration_ns);
            } else {
                *self.fleet.not_packets.get_or_insert_default() += row.packets.into();
            }
        }
        for row in &snapshot.overflow {
            let (reason, subsystem) = (row.reason.as_deref(), row.subsystem.as_deref());
            let place = self.fleet.place(Place { reason, subsystem, ..Place::default() });
            self.fleet.add(host, place, row.packets);
        }
        Ok(())
    }

    fn counted_with(&self, snapshot: &Snapshot) -> Result<u64, NotAdded> {
        let rows = snapshot.drops.iter().map(|row| row.packets);
        let others = snapshot.overflow.iter().map(|row| row.packets).chain(lost(&snapshot.sources));
        let sum = rows.chain(others).try_fold(self.counted, u64::checked_add);
        sum.ok_or_else(|| NotAdded::TooMany { host: snapshot.host.clone() })
    }

    fn enter(&mut self, snapshot: &Snapshot) -> Result<HostId, NotAdded> {
        let start = snapshot.started_at.0;
        // Not empty even where no time has passed, so that the same one twice is noticed.
        let end = start.checked_add(snapshot.duration_ns.max(1));
        let time = start..end.ok_or_else(|| NotAdded::Late { host: snapshot.host.clone() })?;
        let host = self.host(snapshot, &time);
        let times = self.times.entry(host).or_default();
        if overlaps(times, &time) {
            self.fleet.host_mut(host).duplicates += 1;
            return Err(NotAdded::Overlap { host: snapshot.host.clone() });
        }
        let (start, end) = (Timestamp(time.start), Timestamp(time.end));
        let all = self.fleet.time.get_or_insert(start..end);
        *all = all.start.min(start)..all.end.max(end);
        times.insert(time.start, time.end);
        Ok(host)
    }

    /// The host is told apart by name and machine. A snapshot that does not tell its machine, as the first versions wrote it,
    /// is taken for one of a machine of its name that does, unless that one tells of the same time: then they are two.
    fn host(&mut self, snapshot: &Snapshot, time: &Range<u64>) -> HostId {
        let (name, machine) = (&snapshot.host, &snapshot.machine);
        let Self { fleet, times, machines, .. } = self;
        let known = machines.entry(name.clone()).or_default();
        let is_free = |id: &HostId| times.get(id).is_none_or(|times| !overlaps(times, time));
        let Some(machine) = machine else {
            // What tells of nothing but a time that is counted already is told twice.
            let same = known.all.iter().copied().find(is_free).or(known.unknown);
            return same.unwrap_or_else(|| {
                let id = fleet.new_host(name);
                known.all.push(id);
                *known.unknown.insert(id)
            });
        };
        if let Some(&id) = known.by_machine.get(machine) {
            return id;
        }
        let id = known.unknown.take_if(|id| is_free(id)).unwrap_or_else(|| {
            let id = fleet.new_host(name);
            known.all.push(id);
            id
        });
        fleet.tell(id, |host| host.machine = Some(machine.clone()));
        known.by_machine.insert(machine.clone(), id);
        id
    }

    fn add_row(&mut self, host: HostId, row: &Row, duration_ns: u64) {
        let place = self.fleet.place(Place {
            reason: row.reason.as_deref(),
            subsystem: row.subsystem.as_deref(),
            symbol: row.symbol.as_deref(),
            module: row.module.as_deref(),
            trap_group: row.trap_group.as_deref(),
            protocol: row.protocol.as_deref(),
            class: row.class.as_deref(),
            netlink: row.netlink,
            other: false,
        });
        self.fleet.add(host, place, row.packets);
        // All drops of a row came between its first and its last one.
        let span = float(row.last_seen.0.saturating_sub(row.first_seen.0)) / 1e9;
        let (span, whole) = (span.max(SHORTEST), float(duration_ns) / 1e9);
        let rate = float(row.packets) / span;
        if span < whole && rate >= self.storm_rate {
            self.fleet.bursts.push(Burst { host, place, rate, seconds: span, at: Some(row.first_seen) });
        }
    }
}

fn of_machine(name: &str, machine: Option<&str>) -> String {
    format!("{name} (machine {})", machine.unwrap_or("not known"))
}

/// Whether some of a time is counted already.
fn overlaps(times: &BTreeMap<u64, u64>, time: &Range<u64>) -> bool {
    // Of those that begin before its end, the last one ends last.
    times.range(..time.end).next_back().is_some_and(|(_, end)| *end > time.start)
}

/// The latest snapshot tells what a host is, in whatever order they are read.
fn tell_of(host: &mut Host, snapshot: &Snapshot, folder: Option<&str>) {
    host.kernel = Some(snapshot.kernel.clone());
    host.backend = Some(format!("{}/{}", snapshot.backend.source, snapshot.backend.mode));
    host.labels = labels(snapshot, folder);
}

fn add_up(host: &mut Host, snapshot: &Snapshot) {
    host.seconds += float(snapshot.duration_ns) / 1e9;
    host.lost = host.lost.zip(lost(&snapshot.sources)).map(|(sum, lost)| [sum, lost.into()].into_iter().sum());
    host.unbalanced += u64::from(snapshot.unaccounted().is_some_and(|off| off != 0));
}

/// What one source lost, another one that listened as well may have counted: at most the least of what they lost is in
/// no count.
fn lost(sources: &[Source]) -> Option<u64> {
    sources.iter().filter_map(|source| source.ledger.lost).min()
}

fn labels(snapshot: &Snapshot, folder: Option<&str>) -> BTreeMap<String, String> {
    let drivers: BTreeSet<_> = snapshot.interfaces.iter().filter_map(|it| it.driver.as_deref()).collect();
    let drivers = drivers.into_iter().collect::<Vec<_>>().join("+");
    let known = [
        ("version", Some(snapshot.version.as_str())),
        ("build", snapshot.build_id.as_deref()),
        ("driver", Some(drivers.as_str()).filter(|drivers| !drivers.is_empty())),
        ("folder", folder),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

/// For rates and times.
#[expect(clippy::cast_precision_loss, reason = "they need no more")]
fn float(count: u64) -> f64 {
    count as f64
}
