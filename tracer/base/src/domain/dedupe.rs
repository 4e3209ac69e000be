//! The account of joining two sources.

use serde::Serialize;

use crate::domain::event::Origin;

/// When userspace heard of something: nanoseconds of a clock that never goes back, from any start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// At any moment `ebpf.delivered + net_dm.delivered = unique + duplicates + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DedupeLedger {
    /// What came of the kernel program's observations.
    pub ebpf: HeardLedger,
    /// What came of `NET_DM`'s.
    pub net_dm: HeardLedger,
    /// Drops told.
    pub unique: u64,
    /// Observations that were joined to a drop told by the other source: drops heard by both.
    pub duplicates: u64,
    /// Observations that wait for the other source's.
    pub pending: u64,
}

/// The observations of one source: `delivered = alone + duplicates + those that wait`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeardLedger {
    /// Observations that came.
    pub delivered: u64,
    /// Those that were told as heard by this source alone, by cause.
    pub alone: AloneLedger,
}

/// Drops told as heard by one source, by cause: see [`AloneCause`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the number of its cause")]
pub struct AloneLedger {
    pub expired: u64,
    pub evicted: u64,
    pub apart: u64,
    pub no_mac_header: u64,
    pub too_few_bytes: u64,
    pub unaccompanied: u64,
    pub flushed: u64,
}

/// Why a drop was told as heard by one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AloneCause {
    /// The other source did not tell of it in time.
    Expired,
    /// It was the oldest of as many as may wait, and another came.
    Evicted,
    /// The other source told of the same packet at a time too far from it.
    Apart,
    /// The packet had no MAC header, so `NET_DM` skips it.
    NoMacHeader,
    /// Too few bytes were captured to know the packet again.
    TooFewBytes,
    /// The other source was not listening.
    Unaccompanied,
    /// The run ended while it waited.
    Flushed,
}

impl DedupeLedger {
    /// Observations that are in none of the counts: 0, or the account is wrong.
    pub const fn unaccounted(&self) -> i128 {
        let delivered = self.ebpf.delivered as i128 + self.net_dm.delivered as i128;
        delivered - self.unique as i128 - self.duplicates as i128 - self.pending as i128
    }

    /// The account of what one source reported.
    pub fn of(&mut self, origin: Origin) -> &mut HeardLedger {
        match origin {
            Origin::Ebpf => &mut self.ebpf,
            Origin::NetDm => &mut self.net_dm,
        }
    }
}

impl AloneLedger {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.expired
            + self.evicted
            + self.apart
            + self.no_mac_header
            + self.too_few_bytes
            + self.unaccompanied
            + self.flushed
    }

    /// Counts a drop that one source alone reported.
    pub fn count(&mut self, cause: AloneCause) {
        let counter = match cause {
            AloneCause::Expired => &mut self.expired,
            AloneCause::Evicted => &mut self.evicted,
            AloneCause::Apart => &mut self.apart,
            AloneCause::NoMacHeader => &mut self.no_mac_header,
            AloneCause::TooFewBytes => &mut self.too_few_bytes,
            AloneCause::Unaccompanied => &mut self.unaccompanied,
            AloneCause::Flushed => &mut self.flushed,
        };
        *counter += 1;
    }
}
