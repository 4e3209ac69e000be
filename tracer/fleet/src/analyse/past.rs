//! The hosts' own past: drops and time of each host in the baseline, by the ids of today's fleet.

use std::collections::HashMap;

use super::robust::median;
use super::view::{ByHost, coalesce};
use crate::model::{Fleet, HostId};

/// A host's own past counts if the baseline has at least this many of its drops …
const DROPS: f64 = 10.0;
/// … and if at least this many were to be expected now. Otherwise the median of many hosts says nothing.
const EXPECTED: f64 = 5.0;

/// The baseline's hosts, as hosts of the present fleet.
pub(super) struct Past {
    /// The id in the present fleet by the id in the baseline.
    present: Vec<Option<HostId>>,
    /// Seconds that the baseline covers of each present host; 0 if the baseline does not have the host.
    pub(super) seconds: Vec<f64>,
    /// The median of those of the hosts that the baseline has.
    pub(super) usual_seconds: f64,
}

impl Past {
    pub(super) fn of(fleet: &Fleet) -> Self {
        let mut past = Self { present: Vec::new(), seconds: vec![0.0; fleet.hosts().len()], usual_seconds: 0.0 };
        let Some(baseline) = fleet.baseline.as_deref() else { return past };
        let ids: Vec<_> = fleet.ids().collect();
        let mut by_node: HashMap<&str, Vec<HostId>> = HashMap::new();
        for &id in &ids {
            by_node.entry(fleet.hosts()[id.0 as usize].node()).or_default().push(id);
        }
        for host in baseline.hosts() {
            let may_be = by_node.get(host.node()).into_iter().flatten();
            let mut may_be = may_be.copied().filter(|id| fleet.hosts()[id.0 as usize].may_be(host));
            // Of several machines with one name, a host without a machine identifier may be any.
            let present = may_be.next().filter(|_| may_be.next().is_none());
            if let Some(id) = present
                && host.seconds.is_finite()
                && host.seconds > 0.0
            {
                past.seconds[id.0 as usize] += host.seconds;
            }
            past.present.push(present);
        }
        past.usual_seconds = usual(&past.seconds);
        past
    }

    /// The drops that a host's own past lets expect in so many seconds; `None` if it has too few.
    pub(super) fn expected(&self, host: usize, before: f64, seconds: f64) -> Option<f64> {
        let expected = before * seconds / self.seconds[host];
        (before >= DROPS && expected >= EXPECTED && expected.is_finite()).then_some(expected)
    }

    /// Drops in the baseline by present host, each host once, by id, of a row of the baseline's hosts.
    pub(super) fn row(&self, row: Option<&ByHost>) -> ByHost {
        let present = |&(HostId(id), count): &(HostId, f64)| Some((self.present[id as usize]?, count));
        let mut row: ByHost = row.into_iter().flatten().filter_map(present).collect();
        coalesce(&mut row);
        row
    }

    /// The same for all present hosts, by index; 0 without drops.
    pub(super) fn of_all(&self, row: Option<&ByHost>) -> Vec<f64> {
        let mut packets = vec![0.0; self.seconds.len()];
        for (HostId(id), count) in self.row(row) {
            packets[id as usize] = count;
        }
        packets
    }
}

/// The median of known times.
pub(super) fn usual(seconds: &[f64]) -> f64 {
    median(&mut seconds.iter().copied().filter(|seconds| *seconds > 0.0).collect::<Vec<_>>()).unwrap_or_default()
}
