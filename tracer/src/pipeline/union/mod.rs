//! What two sources tell of drops, each drop shown once with who heard it.

mod kept;
mod reasons;
#[cfg(test)]
mod tests;
mod totals;

use std::io;
use std::time::Duration;

use super::account::Account;
use super::dedupe::{DedupeLimits, Deduper, Facts, Fingerprinter, Heard, Observation, PREFIX, UniqueDrop};
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
    told: Told,
}

/// What settled drops change.
struct Told {
    kept: Kept,
    account: Account,
}

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
            told: Told { kept: Kept::new(kept), account: Account::default() },
        }
    }

    /// Takes what `origin` told at `now`, and shows the drop if it is settled by that. All are accounted for, also after
    /// `show` has failed.
    pub fn hear(
        &mut self,
        now: Moment,
        origin: Origin,
        event: &DropEvent<'_>,
        show: &mut impl FnMut(&DropEvent<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
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
        let detail = self.told.kept.keep(event);
        let observation = Observation { origin, drop, print, detail };
        let mut result = Ok(());
        self.deduper.take(now, observation, &mut self.told.take(show, &mut result));
        result
    }

    /// Shows the drops that have waited long enough. `now` is a time by which all that both sources had to tell was
    /// heard; to be called now and then.
    pub fn advance(&mut self, now: Moment, show: &mut impl FnMut(&DropEvent<'_>) -> io::Result<()>) -> io::Result<()> {
        let mut result = Ok(());
        self.deduper.advance(now, &mut self.told.take(show, &mut result));
        result
    }

    /// Shows all drops that wait: the run is over.
    pub fn flush(&mut self, show: &mut impl FnMut(&DropEvent<'_>) -> io::Result<()>) -> io::Result<()> {
        let mut result = Ok(());
        self.deduper.flush(&mut self.told.take(show, &mut result));
        result
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
        &self.told.account
    }

    /// The name of a reason's number in [`Union::account`].
    pub fn reason(&self, number: u32) -> &str {
        self.reasons.name(number)
    }
}

impl Told {
    /// What takes the drops that are settled: counts and shows them, and frees what was kept.
    fn take<'a, S: FnMut(&DropEvent<'_>) -> io::Result<()>>(
        &'a mut self,
        show: &'a mut S,
        result: &'a mut io::Result<()>,
    ) -> impl FnMut(&UniqueDrop<Slot>) + use<'a, S> {
        |drop| {
            self.account.add(drop);
            let (best, other) = match drop.heard {
                Heard::Both { ebpf, net_dm } => (ebpf, Some(net_dm)),
                Heard::Alone { detail, .. } => (detail, None),
            };
            if result.is_ok() {
                *result = self.kept.event(drop, best, other, &mut *show);
            }
            self.kept.free(best);
            if let Some(other) = other {
                self.kept.free(other);
            }
        }
    }
}
