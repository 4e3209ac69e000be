//! What two sources tell of drops, each drop shown once with who heard it.

mod kept;
mod reasons;
#[cfg(test)]
mod tests;
mod totals;

use std::time::Duration;

use super::account::Account;
use super::dedupe::{DedupeLimits, Deduper, Facts, Fingerprinter, Heard, Observation, PREFIX};
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::{DropEvent, Origin};
use kept::{Kept, Slot};
use reasons::Reasons;
pub use reasons::told_name;
pub use totals::unite;
pub(super) use totals::{Spot, spot, tells_reasons};

/// Bytes of packets that are kept at most while drops wait for the other source.
const KEPT_BYTES: usize = 128 << 20;

/// How two sources are joined.
#[derive(Clone, Copy, Debug)]
pub struct UnionOptions {
    /// Leading bytes that both sources capture, as far as the packet has them. Above [`PREFIX`] it makes no difference;
    /// 0 where one source has no bytes at all.
    pub captured: usize,
    /// Leading bytes of each packet that are shown; 0 where nobody looks at them.
    pub kept: usize,
    /// How long a drop waits for the other source.
    pub wait: Duration,
}

impl UnionOptions {
    /// As [`DedupeLimits::default`] has it, with so many bytes of each packet captured and shown.
    pub fn of_bytes(captured: usize, kept: usize) -> Self {
        Self { captured, kept, wait: DedupeLimits::default().wait }
    }
}

/// Joins two sources. Times of the run are given; nothing here looks at a clock.
pub struct Union {
    deduper: Deduper<Slot>,
    prints: Fingerprinter,
    reasons: Reasons,
    kept: Kept,
    /// Where the drop is kept that was given last.
    given: Given,
    account: Account,
}

/// What was kept of one drop, by one source or by both.
type Given = [Option<Slot>; 2];

impl Union {
    /// With both sources listening.
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

    /// Takes what `origin` reported at `now`.
    pub fn take(&mut self, now: Moment, origin: Origin, event: &DropEvent<'_>) {
        let place = event.place;
        let drop = Facts {
            timestamp: event.timestamp,
            pc: place.location.address,
            reason: self.reasons.number(&place.reason),
            length: event.length,
            netns: place.netns,
            ifindex: place.ifindex,
        };
        let print = self.prints.of(event.start, event.bytes, event.length);
        let detail = self.kept.keep(event);
        self.deduper.take(now, Observation { origin, drop, print, detail });
    }

    /// Settles the drops that have waited long enough. `now` is a time by which all that both sources had was taken; to
    /// be called now and then.
    pub fn advance(&mut self, now: Moment) {
        self.deduper.advance(now);
    }

    /// Settles all drops that wait: the run is over.
    pub const fn finish(&mut self) {
        self.deduper.finish();
    }

    /// The next drop that is settled, once. To be called after each of the above until there are no more; each drop is
    /// counted in the account when it is given.
    pub fn next_settled(&mut self) -> Option<DropEvent<'_>> {
        for slot in std::mem::take(&mut self.given).into_iter().flatten() {
            self.kept.free(slot);
        }
        let drop = self.deduper.next_settled()?;
        self.account.add(&drop);
        let (best, other) = match drop.heard {
            Heard::Both { ebpf, net_dm } => (ebpf, Some(net_dm)),
            Heard::Alone { detail, .. } => (detail, None),
        };
        self.given = [Some(best), other];
        self.kept.event(&drop, best, other)
    }

    /// As [`Deduper::set_listening`].
    pub fn set_listening(&mut self, origin: Origin, listening: bool) {
        self.deduper.set_listening(origin, listening);
    }

    /// The account of the joining.
    pub fn ledger(&self) -> DedupeLedger {
        self.deduper.ledger()
    }

    /// Sums by place and reason; [`Union::reason`] has the names of its numbers.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The name of a reason's number in [`Union::account`].
    pub fn reason(&self, number: u32) -> &str {
        self.reasons.name(number)
    }
}
