//! The ledger: what a source saw, what was kept of it, and what was lost, so that the sum is right or says that it
//! is not.

/// The account of the eBPF source.
///
/// Once the program is detached, `hits = accounted + overflow + filtered`; before, drops that came while the maps were
/// read stand in [`EbpfLedger::unread`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EbpfLedger {
    /// Runs of the kernel program: drops seen.
    pub hits: u64,
    /// Drops counted by place.
    pub accounted: u64,
    /// Drops counted by reason only, for the map of places was full.
    pub overflow: u64,
    /// Drops that a filter left out.
    pub filtered: u64,
    /// Drops that the kernel did not show to the program, which was running on that CPU already
    /// (`recursion_misses`, `kernel/trace/bpf_trace.c`); none where the kernel does not tell.
    pub missed: Option<u64>,
    /// The event plane; none when it is off.
    pub events: Option<EventLedger>,
}

impl EbpfLedger {
    /// Drops that were seen but are in none of the counts. While the program runs, those that came during the
    /// reading; afterwards 0, or the account is wrong.
    pub const fn unread(&self) -> i128 {
        self.hits as i128 - self.accounted as i128 - self.overflow as i128 - self.filtered as i128
    }
}

/// The account of the ring buffer: `offered = submitted + suppressed + ring_full` and, once drained,
/// `submitted = delivered + undecodable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLedger {
    /// Drops that might have become records.
    pub offered: u64,
    /// Records written.
    pub submitted: u64,
    /// Records held back by the bound for each place and reason.
    pub suppressed: u64,
    /// Records that found the ring full.
    pub ring_full: u64,
    /// Records that userspace read.
    pub delivered: u64,
    /// Records that made no sense.
    pub undecodable: u64,
}

impl EventLedger {
    /// Records written and not read yet: 0 once the program is detached and the ring drained.
    pub const fn pending(&self) -> i128 {
        self.submitted as i128 - self.delivered as i128 - self.undecodable as i128
    }

    /// Offered drops that are in none of the counts: 0, or the account is wrong.
    pub const fn unaccounted(&self) -> i128 {
        self.offered as i128 - self.submitted as i128 - self.suppressed as i128 - self.ring_full as i128
    }
}
