//! The view of a fleet that the analysis uses: sums by reason and host, and the groups that are compared.

use std::collections::BTreeMap;

use droptrace_base::explain::{Counters, Explanation, Explanations};

use super::{By, Options};
use crate::model::{Fleet, Host, HostId, Key, KeyId};
use crate::number::Amount;

/// A drop reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cause<'f> {
    pub(crate) reason: Option<&'f str>,
    pub(crate) subsystem: Option<&'f str>,
    /// Whether the drops are messages to netlink sockets.
    pub(crate) netlink: bool,
    /// Whether the drops are beyond an exporter's limit of series.
    pub(crate) other: bool,
}

impl<'f> Cause<'f> {
    pub(crate) fn of(key: Key<'f>) -> Self {
        let Key { reason, subsystem, netlink, other, .. } = key;
        Self { reason, subsystem, netlink, other }
    }

    /// The explanation of the reason.
    pub(crate) fn explanation(self, known: &Explanations) -> Option<(&str, &Explanation)> {
        let found = known.get(self.reason?)?;
        self.subsystem.is_none_or(|subsystem| subsystem == found.1.subsystem).then_some(found)
    }

    /// The text of the reason.
    pub(crate) fn name(self) -> String {
        let name = match (self.reason, self.subsystem) {
            _ if self.other => return "drops without a series of their own".into(),
            (None, _) => "drops without a reason".into(),
            (Some(reason), None | Some("core")) => reason.to_owned(),
            (Some(reason), Some(subsystem)) => format!("{subsystem}:{reason}"),
        };
        if self.netlink { format!("{name} of netlink messages") } else { name }
    }
}

/// Drops by host, each host once, by id.
pub(crate) type ByHost = Vec<(HostId, f64)>;

/// Adds up drops by host and a key; keys that are `None` are left out.
pub(crate) fn sums<'f, K: Ord + Clone>(fleet: &'f Fleet, group: impl Fn(Key<'f>) -> Option<K>) -> BTreeMap<K, ByHost> {
    let groups: Vec<_> = fleet.keys().map(group).collect();
    let mut known: Vec<_> = groups.iter().flatten().cloned().collect();
    known.sort_unstable();
    known.dedup();
    let slots: Vec<_> = groups.iter().map(|group| known.binary_search(group.as_ref()?).ok()).collect();
    let mut rows: Vec<ByHost> = vec![Vec::new(); known.len()];
    for count in fleet.counts() {
        let KeyId(key) = count.key;
        let Some(slot) = slots[key as usize] else { continue };
        match rows[slot].last_mut() {
            Some((host, packets)) if *host == count.host => *packets += count.packets.float(),
            _ => rows[slot].push((count.host, count.packets.float())),
        }
    }
    for row in &mut rows {
        coalesce(row);
    }
    known.into_iter().zip(rows).filter(|(_, row)| !row.is_empty()).collect()
}

/// Drops by aggregation key, without a copy of them.
pub(super) struct ByKey<'f> {
    fleet: &'f Fleet,
    /// Indices of counts, those of one key after another.
    order: Vec<u32>,
    /// The end of each key's part of `order`.
    ends: Vec<u32>,
}

impl<'f> ByKey<'f> {
    pub(super) fn of(fleet: &'f Fleet) -> Self {
        let mut ends = vec![0; fleet.keys().count()];
        for count in fleet.counts() {
            ends[count.key.0 as usize] += 1;
        }
        let mut before = 0;
        for end in &mut ends {
            before += *end;
            *end = before - *end;
        }
        // So far the begin of each part, which moves to its end.
        let mut order = vec![0; fleet.counts().len()];
        for (at, count) in (0_u32..).zip(fleet.counts()) {
            let end = &mut ends[count.key.0 as usize];
            order[*end as usize] = at;
            *end += 1;
        }
        Self { fleet, order, ends }
    }

    /// Drops of a key, each host once, by id.
    pub(super) fn row(&self, KeyId(key): KeyId) -> ByHost {
        let start = key.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        let counts = self.order[start as usize..self.ends[key as usize] as usize].iter();
        let counts = counts.map(|&at| &self.fleet.counts()[at as usize]);
        let mut row: ByHost = counts.map(|count| (count.host, count.packets.float())).collect();
        coalesce(&mut row);
        row
    }
}

/// Drops by host and reason.
pub(crate) fn by_cause(fleet: &Fleet) -> BTreeMap<Cause<'_>, ByHost> {
    sums(fleet, |key| Some(Cause::of(key)))
}

/// Drops by reason, exactly.
pub(crate) fn amounts(fleet: &Fleet) -> BTreeMap<Cause<'_>, Amount> {
    let mut sums = vec![Amount::default(); fleet.keys().count()];
    for count in fleet.counts() {
        let KeyId(key) = count.key;
        sums[key as usize] += count.packets;
    }
    let mut causes = BTreeMap::<_, Amount>::new();
    for (key, packets) in fleet.keys().zip(sums) {
        *causes.entry(Cause::of(key)).or_default() += packets;
    }
    causes
}

/// Drops of each host, without netlink messages.
pub(crate) fn per_host(causes: &BTreeMap<Cause<'_>, ByHost>) -> BTreeMap<HostId, f64> {
    let mut sums = BTreeMap::new();
    for (_, row) in causes.iter().filter(|(cause, _)| !cause.netlink) {
        for &(host, packets) in row {
            *sums.entry(host).or_default() += packets;
        }
    }
    sums
}

/// Merges equal keys.
pub(super) fn coalesce(row: &mut ByHost) {
    if row.is_sorted_by(|one, other| one.0 < other.0) {
        return;
    }
    row.sort_by_key(|&(host, _)| host);
    row.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
}

/// The sum of all hosts.
pub(crate) fn total(row: &[(HostId, f64)]) -> f64 {
    row.iter().map(|&(_, packets)| packets).sum()
}

/// The common view of all parts of the analysis.
pub(super) struct View<'f> {
    pub(super) fleet: &'f Fleet,
    pub(super) options: &'f Options,
    pub(super) explanations: Option<Explanations>,
    pub(super) counters: Option<Counters>,
    pub(super) causes: BTreeMap<Cause<'f>, ByHost>,
}

impl<'f> View<'f> {
    pub(super) fn new(fleet: &'f Fleet, options: &'f Options) -> Self {
        // The built-in explanations are tested; without them no reason is explained.
        let explanations = Explanations::built_in().ok();
        let counters = Counters::built_in().ok();
        Self { fleet, options, explanations, counters, causes: by_cause(fleet) }
    }

    pub(super) fn host(&self, id: HostId) -> &'f Host {
        &self.fleet.hosts()[id.0 as usize]
    }

    /// Drops per second; `None` for a host whose time span is unknown.
    pub(super) fn rate(&self, id: HostId, packets: f64) -> Option<f64> {
        let rate = packets / self.host(id).seconds;
        (rate.is_finite() && rate > 0.0).then_some(rate)
    }

    /// The explanation of a reason.
    pub(super) fn explain(&self, cause: Cause<'_>) -> Option<(&str, &Explanation)> {
        cause.explanation(self.explanations.as_ref()?)
    }

    /// The name of a host's group; empty if all hosts are one group.
    pub(super) fn group(&self, id: HostId) -> String {
        let host = self.host(id);
        let parts = self.options.by.iter().filter_map(|by| by.group(host));
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl By {
    /// The value that a host shares with its group; `None` for a dimension that is not one of hosts.
    pub(crate) fn group(&self, host: &Host) -> Option<String> {
        let value = match self {
            Self::Class => return None,
            Self::Kernel => host.kernel.as_deref(),
            Self::Backend => host.backend.as_deref(),
            Self::Label(label) => host.labels.get(label).map(String::as_str),
        };
        Some(format!("{}={}", self.name(), value.unwrap_or("-")))
    }
}
