//! Adds up the snapshots of many hosts, one after another: what is kept grows with hosts times places, not with what
//! was read. Not wired to a command yet.

use std::collections::HashMap;
use std::ops::Range;

use super::{Row, Snapshot, Source, Step};
use crate::event::Timestamp;

/// What places of different hosts have in common. Names that each host gives by itself (interfaces, namespaces) and
/// what differs between builds of the kernel (offsets) are left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FleetPlace {
    /// As of [`Row`].
    pub reason: Option<String>,
    /// As of [`Row`].
    pub subsystem: Option<String>,
    /// As of [`Row`].
    pub symbol: Option<String>,
    /// As of [`Row`].
    pub module: Option<String>,
    /// As of [`Row`].
    pub trap_group: Option<String>,
    /// As of [`Row`].
    pub protocol: Option<String>,
    /// As of [`Row`].
    pub class: Option<String>,
    /// As of [`Row`].
    pub netlink: bool,
}

/// Drops at one place of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceSum {
    /// Drops of all hosts.
    pub packets: u128,
    /// Bytes of them; none where a host does not tell.
    pub bytes: Option<u128>,
    /// First drop of any.
    pub first_seen: Timestamp,
    /// Last drop of any.
    pub last_seen: Timestamp,
    /// Drops by host, an index into [`Merge::hosts`].
    pub hosts: HashMap<usize, u128>,
}

/// What one host told, in one snapshot or in several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSum {
    /// Node name, which hosts are told apart by.
    pub name: String,
    /// Kernel release in the last snapshot read.
    pub kernel: String,
    /// The way to listen in the last snapshot read.
    pub step: Step,
    /// Times that are counted, in nanoseconds since the Unix epoch.
    pub times: Vec<Range<u64>>,
    /// Drops counted by place.
    pub accounted: u128,
    /// Drops counted by reason only.
    pub overflow: u128,
    /// Drops in none of the counts; none where the number is not known of a source.
    pub lost: Option<u128>,
    /// Snapshots whose rows and ledger do not agree.
    pub unbalanced: u64,
}

/// A snapshot counts what another one of the same host has counted already; it was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} is told of twice for the same time: these drops are counted already")]
pub struct Overlap {
    /// The host.
    pub host: String,
}

/// The sum so far.
#[derive(Clone, Debug, Default)]
pub struct Merge {
    hosts: Vec<HostSum>,
    by_name: HashMap<String, usize>,
    places: HashMap<FleetPlace, PlaceSum>,
    overflow: HashMap<(Option<String>, Option<String>), u128>,
}

impl Merge {
    /// The hosts, in the order in which they came.
    pub fn hosts(&self) -> &[HostSum] {
        &self.hosts
    }

    /// The places, in no order.
    pub const fn places(&self) -> &HashMap<FleetPlace, PlaceSum> {
        &self.places
    }

    /// Drops without a place, by reason and subsystem.
    pub const fn overflow(&self) -> &HashMap<(Option<String>, Option<String>), u128> {
        &self.overflow
    }

    /// Adds a snapshot. Two of the same host add up, unless they tell of the same time.
    pub fn add(&mut self, snapshot: Snapshot) -> Result<(), Overlap> {
        let index = self.enter(&snapshot)?;
        for row in snapshot.drops {
            self.add_row(index, row);
        }
        for row in snapshot.overflow {
            *self.overflow.entry((row.reason, row.subsystem)).or_default() += u128::from(row.packets);
        }
        Ok(())
    }

    fn enter(&mut self, snapshot: &Snapshot) -> Result<usize, Overlap> {
        let start = snapshot.started_at.0;
        // Not empty even where no time has passed, so that the same one twice is noticed.
        let time = start..start.saturating_add(snapshot.duration_ns.max(1));
        let index = self.by_name.get(&snapshot.host).copied().unwrap_or(self.hosts.len());
        if index == self.hosts.len() {
            self.by_name.insert(snapshot.host.clone(), index);
            self.hosts.push(HostSum::new(snapshot));
        }
        let host = &mut self.hosts[index];
        if host.times.iter().any(|other| other.start < time.end && time.start < other.end) {
            return Err(Overlap { host: snapshot.host.clone() });
        }
        host.times.push(time);
        host.add(snapshot);
        Ok(index)
    }

    fn add_row(&mut self, host: usize, row: Row) {
        let Row { packets, bytes, first_seen, last_seen, .. } = row;
        let sum = self.places.entry(FleetPlace::from(row)).or_insert_with(|| PlaceSum {
            packets: 0,
            bytes: Some(0),
            first_seen,
            last_seen,
            hosts: HashMap::new(),
        });
        sum.packets += u128::from(packets);
        sum.bytes = sum.bytes.zip(bytes).map(|(sum, bytes)| sum + u128::from(bytes));
        sum.first_seen = sum.first_seen.min(first_seen);
        sum.last_seen = sum.last_seen.max(last_seen);
        *sum.hosts.entry(host).or_default() += u128::from(packets);
    }
}

impl From<Row> for FleetPlace {
    fn from(row: Row) -> Self {
        let Row { reason, subsystem, symbol, module, trap_group, protocol, class, netlink, .. } = row;
        Self { reason, subsystem, symbol, module, trap_group, protocol, class, netlink }
    }
}

impl HostSum {
    fn new(snapshot: &Snapshot) -> Self {
        Self {
            name: snapshot.host.clone(),
            kernel: snapshot.kernel.clone(),
            step: snapshot.step.clone(),
            times: vec![],
            accounted: 0,
            overflow: 0,
            lost: Some(0),
            unbalanced: 0,
        }
    }

    fn add(&mut self, snapshot: &Snapshot) {
        self.kernel.clone_from(&snapshot.kernel);
        self.step.clone_from(&snapshot.step);
        for Source { ledger, .. } in &snapshot.sources {
            self.accounted += u128::from(ledger.accounted);
            self.overflow += u128::from(ledger.overflow);
            self.lost = self.lost.zip(ledger.lost).map(|(sum, lost)| sum + u128::from(lost));
        }
        self.unbalanced += u64::from(snapshot.unaccounted().is_some_and(|off| off != 0));
    }
}

#[cfg(test)]
mod tests;
