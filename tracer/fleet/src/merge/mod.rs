//! The fleet as described by snapshots, which are added one after another: the memory grows with hosts times
//! aggregation keys, not with the number of snapshots.

mod files;
mod load;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use droptrace_base::domain::attribution::Attribution;
use droptrace_base::domain::event::Timestamp;
use droptrace_base::snapshot::{Row, RowOwner, Snapshot, Source};

pub use files::Files;
pub use load::{Loaded, load};

use super::analyse::Options;
use super::model::{Bounds, Burst, Fleet, Full, Host, HostId, Key};

/// Shorter bursts than this are ignored, because a few packets at once would be a high rate.
const SHORTEST: f64 = 1.0;

/// The error for a snapshot that was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// The snapshot counts drops that another one of the same host has already counted.
    #[error("the snapshot of {host} overlaps another one in time: these drops are already counted")]
    Overlap {
        /// The host.
        host: String,
    },
    /// With the snapshot, the sum of the fleet would be rounded.
    #[error("with the drops of {host}, the sum of the fleet would exceed 2^64 - 1")]
    TooMany {
        /// The host.
        host: String,
    },
    /// The snapshot ends later than a timestamp can be.
    #[error("the snapshot of {host} ends after the year 2554")]
    Late {
        /// The host.
        host: String,
    },
    /// The fleet has reached its limits.
    #[error("the fleet has no room for the snapshot")]
    Full(#[source] Full),
}

/// The sum of the snapshots so far.
#[derive(Clone, Debug)]
pub struct Merge {
    fleet: Fleet,
    /// Time spans that are counted, in nanoseconds since the Unix epoch: start and end. No two of a host overlap.
    times: HashMap<HostId, BTreeMap<u64, u64>>,
    /// Hosts by their name.
    machines: HashMap<String, Machines>,
    storm_rate: f64,
    /// All drops so far, including lost drops: no sum exceeds this one.
    counted: u64,
    bounds: Bounds,
}

/// Hosts with one name.
#[derive(Clone, Debug, Default)]
struct Machines {
    /// The hosts in the order of their arrival.
    all: Vec<HostId>,
    by_machine: HashMap<String, HostId>,
    /// The host whose snapshots have no machine identifier.
    unknown: Option<HostId>,
}

impl Default for Merge {
    fn default() -> Self {
        Self::with_storms_from(Options::default().storm_rate)
    }
}

impl Merge {
    /// Keeps bursts of at least this many packets per second (`--storm-rate`).
    pub(crate) fn with_storms_from(storm_rate: f64) -> Self {
        Self {
            fleet: Fleet::default(),
            times: HashMap::default(),
            machines: HashMap::default(),
            storm_rate,
            counted: 0,
            bounds: Bounds::DEFAULT,
        }
    }

    /// Returns the fleet.
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
        // Names are given in order, and after the hosts whose names are unique, so that each run makes the same names.
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

    /// Adds a snapshot, with further facts about its host. Two snapshots of the same host add up, unless they cover the
    /// same time.
    pub fn add(&mut self, snapshot: &Snapshot, folder: Option<&str>) -> Result<(), NotAdded> {
        // This limit is checked first: a single snapshot has limits of its own.
        self.fleet.check(self.bounds).map_err(NotAdded::Full)?;
        let counted = self.counted_with(snapshot)?;
        let host = self.enter(snapshot)?;
        self.counted = counted;
        let is_latest = self.times[&host].last_key_value().is_none_or(|(start, _)| *start <= snapshot.started_at.0);
        self.fleet.change(host, |host| add_up(host, snapshot));
        if is_latest {
            self.fleet.change(host, |host| describe(host, snapshot, folder));
        }
        for row in &*snapshot.rows_without_owners() {
            if row.is_packet() || row.netlink {
                self.add_row(host, row, snapshot.duration_ns);
            } else {
                *self.fleet.not_packets.get_or_insert_default() += row.packets.into();
            }
        }
        for row in snapshot.drops.iter().filter(|row| row.is_packet()) {
            if let Some(owner) = row.owner.as_ref().and_then(name_of) {
                let key = self.fleet.key(key_of(row));
                self.fleet.add_owned(host, key, &owner, row.packets);
            }
        }
        for row in &snapshot.overflow {
            let (reason, subsystem) = (row.reason.as_deref(), row.subsystem.as_deref());
            let key = self.fleet.key(Key { reason, subsystem, ..Key::default() });
            self.fleet.add(host, key, row.packets);
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
        // The time span is not empty even if no time has passed, so that the same snapshot is noticed when it is added
        // twice.
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

    /// A host is identified by name and machine. A snapshot without a machine identifier, as the first versions wrote
    /// it, is assigned to a machine of its name, unless a snapshot of that machine covers the same time: then they are
    /// two hosts.
    fn host(&mut self, snapshot: &Snapshot, time: &Range<u64>) -> HostId {
        let (name, machine) = (&snapshot.host, &snapshot.machine);
        let Self { fleet, times, machines, .. } = self;
        let known = machines.entry(name.clone()).or_default();
        let is_free = |id: &HostId| times.get(id).is_none_or(|times| !overlaps(times, time));
        let Some(machine) = machine else {
            // A snapshot that covers only time that is already counted was added twice.
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
        fleet.change(id, |host| host.machine = Some(machine.clone()));
        known.by_machine.insert(machine.clone(), id);
        id
    }

    fn add_row(&mut self, host: HostId, row: &Row, duration_ns: u64) {
        let key = self.fleet.key(key_of(row));
        self.fleet.add(host, key, row.packets);
        // All drops of a row happened between its first and its last one.
        let span = float(row.last_seen.0.saturating_sub(row.first_seen.0)) / 1e9;
        let (span, whole) = (span.max(SHORTEST), float(duration_ns) / 1e9);
        let rate = float(row.packets) / span;
        if span < whole && rate >= self.storm_rate {
            self.fleet.bursts.push(Burst { host, key, rate, seconds: span, at: Some(row.first_seen) });
        }
    }
}

fn key_of(row: &Row) -> Key<'_> {
    Key {
        reason: row.reason.as_deref(),
        subsystem: row.subsystem.as_deref(),
        symbol: row.symbol.as_deref(),
        module: row.module.as_deref(),
        trap_group: row.trap_group.as_deref(),
        protocol: row.protocol.as_deref(),
        class: row.class.as_deref(),
        netlink: row.netlink,
        other: false,
    }
}

/// The name of the owner of the packets' sockets: `shop/web/nginx` for a container of a pod, else the pod, else the container,
/// else the unit, else the control group. `None` if the packets have no socket, or its owner no name.
fn name_of(owner: &RowOwner) -> Option<Cow<'_, str>> {
    let RowOwner { attribution, pod, container, unit, cgroup, .. } = owner;
    if attribution != Attribution::Attributed.name() {
        return None;
    }
    if let (Some(pod), Some(container)) = (pod, container) {
        return Some(format!("{pod}/{container}").into());
    }
    [pod, container, unit, cgroup].into_iter().flatten().next().map(|name| name.as_str().into())
}

fn of_machine(name: &str, machine: Option<&str>) -> String {
    format!("{name} (machine {})", machine.unwrap_or("not known"))
}

/// Returns whether a part of a time span is already counted.
fn overlaps(times: &BTreeMap<u64, u64>, time: &Range<u64>) -> bool {
    // Of those that start before its end, the last one ends last.
    times.range(..time.end).next_back().is_some_and(|(_, end)| *end > time.start)
}

/// The latest snapshot describes the host, in whatever order the snapshots are read.
fn describe(host: &mut Host, snapshot: &Snapshot, folder: Option<&str>) {
    host.kernel = Some(snapshot.kernel.clone());
    host.backend = Some(format!("{}/{}", snapshot.backend.source, snapshot.backend.mode));
    host.labels = labels(snapshot, folder);
}

fn add_up(host: &mut Host, snapshot: &Snapshot) {
    host.seconds += float(snapshot.duration_ns) / 1e9;
    host.lost = host.lost.zip(lost(&snapshot.sources)).map(|(sum, lost)| [sum, lost.into()].into_iter().sum());
    if let Some(outside) = &snapshot.outside {
        host.outside.get_or_insert_default();
        for counter in &outside.counters {
            host.add_outside(&counter.counter, counter.outside.unwrap_or(0).into());
        }
    }
    host.unbalanced += u64::from(snapshot.unaccounted().is_some_and(|off| off != 0));
}

/// Drops that one backend lost may be counted by another backend that ran as well: at most the smallest number of
/// losses is in no count.
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
        ("filter", snapshot.filter.as_deref()),
        ("folder", folder),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

/// A rounded number for rates and times.
#[expect(clippy::cast_precision_loss, reason = "rates and times need no exact numbers")]
fn float(count: u64) -> f64 {
    count as f64
}
