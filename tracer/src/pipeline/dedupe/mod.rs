//! Joins the reports of two sources about the same drop, so that each drop is counted once, with the sources that saw
//! it.
//!
//! Both probes run within microseconds of one another on one CPU, but neither source gives the other's identity of a
//! packet. So two observations belong to one drop when they have the same drop site, drop reason, length and first
//! bytes, and are close in time. When packets look alike, as in a storm, the first one that one source saw is joined
//! with the first one that the other source saw. No fact tells these packets apart, and their number is right.

mod fingerprint;
mod heads;
mod observation;
#[cfg(test)]
mod tests;
mod waiting;

use std::time::Duration;

pub use fingerprint::{Fingerprint, Fingerprinter, PREFIX, Unpairable};
pub use observation::{Observation, SeenBy, SharedFacts, UniqueDrop};

use crate::domain::dedupe::{AloneCause, DedupeLedger, Moment};
use crate::domain::event::{Origin, Timestamp};
use waiting::{Head, Identity, Waiting, WaitingRoom};

/// Limits of the time and the number of the observations that wait for the other source's observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupeLimits {
    /// Time that an observation waits, by the clock of [`Moment`]. `NET_DM`'s messages pass through a queue, a work
    /// item and a socket; the kernel program's records pass through a ring that is read every few milliseconds. A
    /// loaded reader falls behind on either by some hundred milliseconds.
    pub wait: Duration,
    /// Largest difference of the two times of one drop. Both times are taken within microseconds; but `NET_DM`'s is
    /// real time, and the kernel program's becomes real time by an offset that is measured once an interval, and is
    /// wrong by as much as real time was set since. When packets that look alike come out of order, the wrong two may
    /// be joined. Their times differ by as long as one was under way and the other waited, so the limit is not less
    /// than twice `wait`.
    pub apart: Duration,
    /// Largest number of observations that wait, 1 to 2³¹. Beyond it, the observation that has waited longest counts as
    /// seen by one source.
    pub max_pending: usize,
}

impl Default for DedupeLimits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(1), apart: Duration::from_secs(2), max_pending: 1 << 20 }
    }
}

/// Joins the observations of two sources. `T` is the caller's handle of an observation.
///
/// After each [`take`](Self::take), [`advance`](Self::advance) and [`finish`](Self::finish),
/// [`next_settled`](Self::next_settled) returns the drops that this call settled, one at a time until no drop is left.
#[derive(Debug)]
pub struct Deduper<T> {
    wait_ns: u64,
    apart_ns: u64,
    now: Moment,
    /// Time of the last observation, or a later time.
    latest: Moment,
    /// The last observation, until it is settled or waits.
    arrived: Option<Observation<T>>,
    /// The run is over, and no observation waits any longer.
    is_over: bool,
    room: WaitingRoom<T>,
    ledger: DedupeLedger,
}

impl<T: Copy> Deduper<T> {
    /// Allocates memory as observations wait, and keeps it.
    pub fn new(limits: DedupeLimits) -> Self {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            wait_ns: nanoseconds(limits.wait),
            apart_ns: nanoseconds(limits.apart),
            now: Moment::default(),
            latest: Moment::default(),
            arrived: None,
            is_over: false,
            room: WaitingRoom::new(limits.max_pending),
            ledger: DedupeLedger::default(),
        }
    }

    /// Takes an observation that came at `now`. This call does not advance the time: a caller that reads both sources
    /// in turn has to read both before it knows that the other source has no observation of a drop that waits.
    pub fn take(&mut self, now: Moment, observation: Observation<T>) {
        debug_assert!(self.arrived.is_none(), "the drops that the last observation settled were not taken");
        self.latest = self.latest.max(now);
        self.ledger.of(observation.origin).delivered += 1;
        self.arrived = Some(observation);
    }

    /// Settles the drops that have waited long enough. The caller calls this function now and then while no observation
    /// comes. A time before the latest time counts as the latest time.
    pub fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.latest = self.latest.max(now);
    }

    /// Settles all drops that wait, because the run is over.
    pub const fn finish(&mut self) {
        self.is_over = true;
    }

    /// Returns the next settled drop.
    pub fn next_settled(&mut self) -> Option<UniqueDrop<T>> {
        if let Some(observation) = self.arrived.take()
            && let Some(settled) = self.settle(observation)
        {
            return Some(settled);
        }
        self.next_due()
    }

    /// The ledger so far.
    pub fn ledger(&self) -> DedupeLedger {
        DedupeLedger { pending: self.room.len() as u64, ..self.ledger }
    }

    /// Bytes allocated now.
    pub fn bytes(&self) -> usize {
        self.room.bytes()
    }

    /// Upper bound of [`Deduper::bytes`] with a given [`DedupeLimits::max_pending`]. While one of its two blocks grows,
    /// the old block still exists, and takes at most half as much again.
    pub const fn max_bytes(max_pending: usize) -> usize {
        WaitingRoom::<T>::max_bytes(max_pending)
    }

    /// Returns the drop that an observation settles first; absent where the observation waits from now on.
    fn settle(&mut self, observation: Observation<T>) -> Option<UniqueDrop<T>> {
        let Observation { origin, drop, print, detail } = observation;
        let print = match print {
            Ok(print) => print,
            Err(why) => return Some(self.alone(origin, drop, detail, why.into())),
        };
        let latest = Waiting { origin, drop, print, arrived: self.latest, detail };
        let identity = latest.identity();
        let hash = self.room.hash(&identity);
        match self.partner(hash, &identity, &latest) {
            Partner::Found(head) => {
                let other = self.room.take(head);
                Some(self.both(&latest, &other))
            }
            Partner::TooOld(head) => {
                // The observation may settle further drops.
                self.arrived = Some(observation);
                let other = self.room.take(head);
                Some(self.alone(other.origin, other.drop, other.detail, AloneCause::Apart))
            }
            Partner::TooNew => Some(self.alone(origin, drop, detail, AloneCause::Apart)),
            Partner::None(head) => self.wait(hash, head, latest),
        }
    }

    /// Finds the waiting observation of the same drop as `latest`.
    fn partner(&self, hash: u32, identity: &Identity, latest: &Waiting<T>) -> Partner {
        match self.room.head(hash, identity) {
            None => Partner::None(None),
            Some((head, other)) if other.origin == latest.origin => Partner::None(Some(head)),
            Some((head, other)) => {
                let (Timestamp(waited), Timestamp(came)) = (other.drop.timestamp, latest.drop.timestamp);
                if waited.abs_diff(came) <= self.apart_ns {
                    Partner::Found(head)
                } else if waited < came {
                    // Sources report in order of time, more or less: later observations are newer still.
                    Partner::TooOld(head)
                } else {
                    Partner::TooNew
                }
            }
        }
    }

    /// Lets an observation wait. Returns the drop that was removed to make room.
    fn wait(&mut self, hash: u32, head: Option<Head>, latest: Waiting<T>) -> Option<UniqueDrop<T>> {
        if !self.room.is_full() {
            self.room.push(hash, head, latest);
            return None;
        }
        let evicted = self.give_up_oldest(AloneCause::Evicted);
        // The removed observation may have been the head.
        let head = self.room.head(hash, &latest.identity()).map(|(head, _)| head);
        self.room.push(hash, head, latest);
        evicted
    }

    /// Returns the oldest drop that waits, if it has waited long enough.
    fn next_due(&mut self) -> Option<UniqueDrop<T>> {
        if self.is_over {
            return self.give_up_oldest(AloneCause::Flushed);
        }
        let oldest = self.room.oldest()?;
        let is_due = self.now.0.saturating_sub(oldest.arrived.0) > self.wait_ns;
        if is_due { self.give_up_oldest(AloneCause::Expired) } else { None }
    }

    fn give_up_oldest(&mut self, cause: AloneCause) -> Option<UniqueDrop<T>> {
        let oldest = self.room.take_oldest()?;
        Some(self.alone(oldest.origin, oldest.drop, oldest.detail, cause))
    }

    fn alone(&mut self, origin: Origin, drop: SharedFacts, detail: T, cause: AloneCause) -> UniqueDrop<T> {
        self.ledger.of(origin).alone.count(cause);
        self.ledger.unique += 1;
        UniqueDrop { drop, seen_by: SeenBy::Alone { origin, detail, cause } }
    }

    fn both(&mut self, one: &Waiting<T>, other: &Waiting<T>) -> UniqueDrop<T> {
        let (ebpf, net_dm) = match one.origin {
            Origin::Ebpf => (one, other),
            Origin::NetDm => (other, one),
        };
        self.ledger.unique += 1;
        self.ledger.duplicates += 1;
        let seen_by = SeenBy::Both { ebpf: ebpf.detail, net_dm: net_dm.detail };
        let ifindex = if ebpf.drop.ifindex == 0 { net_dm.drop.ifindex } else { ebpf.drop.ifindex };
        UniqueDrop { drop: SharedFacts { ifindex, ..ebpf.drop }, seen_by }
    }
}

/// Result of the search for an observation's partner.
enum Partner {
    /// An observation of the same drop.
    Found(Head),
    /// An observation of the other source, from too long before.
    TooOld(Head),
    /// Observations of the other source, the first of them from too long after.
    TooNew,
    /// No observation of the other source; the head of the same source's observations, if there are any.
    None(Option<Head>),
}
