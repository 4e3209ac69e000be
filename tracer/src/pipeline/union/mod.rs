//! Joins the events of two sources: each drop is shown once, with the sources that saw it.

mod kept;
mod reasons;
#[cfg(test)]
mod tests;
mod totals;

use std::time::Duration;

use super::account::Account;
use super::dedupe::{DedupeLimits, Deduper, Fingerprinter, Observation, PREFIX, SeenBy, SharedFacts};
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::{DropEvent, Origin};
use kept::{Kept, Slot};
use reasons::Reasons;
pub(crate) use reasons::net_dm_reason_name;
pub(crate) use totals::unite;
pub(super) use totals::{JoinKey, join_key, reports_reasons};

/// Largest number of packet bytes that are kept while events wait for the other source.
const KEPT_BYTES: usize = 128 << 20;

/// Options of the join of two sources.
#[derive(Clone, Copy, Debug)]
pub struct UnionOptions {
    /// Leading bytes that both sources capture, as far as the packet has them. Values above [`PREFIX`] make no
    /// difference; 0 where one source captures no bytes.
    pub captured: usize,
    /// Leading bytes of each packet that are shown; 0 where no sink shows them.
    pub kept: usize,
    /// Time that an event waits for the other source.
    pub wait: Duration,
}

impl UnionOptions {
    /// The defaults of [`DedupeLimits`], with these numbers of captured and shown bytes of each packet.
    pub fn of_bytes(captured: usize, kept: usize) -> Self {
        Self { captured, kept, wait: DedupeLimits::default().wait }
    }
}

/// Joins two sources. The caller passes the times of the run; this type reads no clock.
pub struct Union {
    deduper: Deduper<Slot>,
    prints: Fingerprinter,
    reasons: Reasons,
    kept: Kept,
    /// Slots of the event that was returned last.
    given: Given,
    account: Account,
}

/// Slots of one drop, by source.
type Given = [Option<Slot>; 2];

impl Union {
    /// Starts with both sources running.
    pub fn new(options: UnionOptions) -> Self {
        let UnionOptions { captured, kept, wait } = options;
        let most = DedupeLimits::default().max_pending;
        let max_pending = KEPT_BYTES.checked_div(kept).map_or(most, |drops| drops.clamp(1, most));
        Self {
            deduper: Deduper::new(DedupeLimits { wait, apart: wait * 2, max_pending }),
            prints: Fingerprinter::new(captured.min(PREFIX)),
            reasons: Reasons::default(),
            kept: Kept::new(kept),
            given: [None; 2],
            account: Account::default(),
        }
    }

    /// Takes an event that `origin` reported at `now`.
    pub fn take(&mut self, now: Moment, origin: Origin, event: &DropEvent<'_>) {
        let key = event.key;
        let drop = SharedFacts {
            timestamp: event.timestamp,
            pc: key.location.address,
            reason: self.reasons.number(&key.reason),
            length: event.length,
            netns: key.netns,
            ifindex: key.ifindex,
        };
        let print = self.prints.of(event.start, event.bytes, event.length);
        let detail = self.kept.keep(event);
        self.deduper.take(now, Observation { origin, drop, print, detail });
    }

    /// Settles the drops that have waited long enough. By the time `now`, the caller has taken all events of both
    /// sources. The caller calls this function now and then.
    pub fn advance(&mut self, now: Moment) {
        self.deduper.advance(now);
    }

    /// Settles all drops that wait, because the run is over.
    pub const fn finish(&mut self) {
        self.deduper.finish();
    }

    /// Returns the next settled drop. The caller calls this function after each of the above until no drop is left;
    /// each returned drop is counted in the account.
    pub fn next_settled(&mut self) -> Option<DropEvent<'_>> {
        for slot in std::mem::take(&mut self.given).into_iter().flatten() {
            self.kept.free(slot);
        }
        let drop = self.deduper.next_settled()?;
        self.account.add(&drop);
        let (best, other) = match drop.seen_by {
            SeenBy::Both { ebpf, net_dm } => (ebpf, Some(net_dm)),
            SeenBy::Alone { detail, .. } => (detail, None),
        };
        self.given = [Some(best), other];
        self.kept.event(&drop, best, other)
    }

    /// The ledger of the join.
    pub fn ledger(&self) -> DedupeLedger {
        self.deduper.ledger()
    }

    /// Sums by drop site and drop reason; [`Union::reason`] has the names of the reason numbers.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The name of a reason's number in [`Union::account`].
    pub fn reason(&self, number: u32) -> &str {
        self.reasons.name(number)
    }
}
