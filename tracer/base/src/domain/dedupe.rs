//! The ledger of the join of two backends.

use serde::Serialize;

use crate::domain::event::Origin;

/// The time at which userspace received a message: nanoseconds of a clock that never goes back, from any start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// At any time `ebpf.delivered + net_dm.delivered = unique + duplicates + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DedupeLedger {
    /// The observations of the kernel program.
    pub ebpf: ObservationLedger,
    /// The observations of `NET_DM`.
    pub net_dm: ObservationLedger,
    /// Drops that were passed on.
    pub unique: u64,
    /// Observations that were joined to a drop of the other backend: drops that both reported.
    pub duplicates: u64,
    /// Observations that wait for an observation of the other backend.
    pub pending: u64,
}

/// The observations of one backend: `delivered = alone + duplicates + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ObservationLedger {
    /// Observations that arrived.
    pub delivered: u64,
    /// Observations that were passed on as reported by this backend alone, by cause.
    pub alone: AloneLedger,
}

/// Drops that were passed on as reported by one backend, by cause: see [`AloneCause`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the number of its cause")]
pub struct AloneLedger {
    pub expired: u64,
    pub evicted: u64,
    pub apart: u64,
    pub no_mac_header: u64,
    pub too_few_bytes: u64,
    pub flushed: u64,
}

/// The cause for which a drop was passed on as reported by one backend alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AloneCause {
    /// The other backend did not report the drop in time.
    Expired,
    /// As many observations as may wait were waiting; this one was the oldest, and another one arrived.
    Evicted,
    /// The other backend reported the same packet, but at a time too far away.
    Apart,
    /// The packet had no MAC header, so that `NET_DM` skips it.
    NoMacHeader,
    /// Too few bytes were captured to recognise the packet.
    TooFewBytes,
    /// The run ended while the observation waited.
    Flushed,
}

impl DedupeLedger {
    /// Observations that are in none of the counts. Any other number than 0 is a fault of droptrace.
    pub const fn unaccounted(&self) -> i128 {
        let delivered = self.ebpf.delivered as i128 + self.net_dm.delivered as i128;
        delivered - self.unique as i128 - self.duplicates as i128 - self.pending as i128
    }

    /// The ledger of the observations of one backend.
    pub fn of(&mut self, origin: Origin) -> &mut ObservationLedger {
        match origin {
            Origin::Ebpf => &mut self.ebpf,
            Origin::NetDm => &mut self.net_dm,
        }
    }
}

impl AloneLedger {
    /// The sum of all causes.
    pub const fn total(&self) -> u64 {
        self.expired + self.evicted + self.apart + self.no_mac_header + self.too_few_bytes + self.flushed
    }

    /// Counts a drop that one backend alone reported.
    pub fn count(&mut self, cause: AloneCause) {
        let counter = match cause {
            AloneCause::Expired => &mut self.expired,
            AloneCause::Evicted => &mut self.evicted,
            AloneCause::Apart => &mut self.apart,
            AloneCause::NoMacHeader => &mut self.no_mac_header,
            AloneCause::TooFewBytes => &mut self.too_few_bytes,
            AloneCause::Flushed => &mut self.flushed,
        };
        *counter += 1;
    }
}
