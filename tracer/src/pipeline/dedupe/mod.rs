//! Two sources, one account: joins what both heard of the same drop, so that each drop is told once, with who heard it.
//!
//! Both probes run within microseconds of one another on one CPU, but neither source gives the other's identity of a
//! packet. So two observations are of one drop when they have the same place, reason, length and first bytes, and are
//! close in time. Of packets that look alike, as in a storm, the first heard by one source goes with the first heard
//! by the other: which is which nobody can tell, and their number is right.

mod fingerprint;
mod heads;
mod observation;
#[cfg(test)]
mod tests;
mod waiting;

use std::time::Duration;

pub use fingerprint::{Fingerprint, Fingerprinter, PREFIX, Unpairable};
pub use observation::{Facts, Heard, Observation, UniqueDrop};

use crate::domain::dedupe::{AloneCause, DedupeLedger, Moment};
use crate::domain::event::{Origin, Timestamp};
use waiting::{Head, Identity, Waiting, WaitingRoom};

/// How long and how many observations wait for the other source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupeLimits {
    /// How long one waits, by the clock of [`Moment`]. `NET_DM`'s messages pass through a queue, a work item and a
    /// socket, the kernel program's through a ring that is looked at every few milliseconds; a loaded reader falls
    /// behind on either by some hundred.
    pub wait: Duration,
    /// How far the times of one drop may be apart. They are taken within microseconds; but `NET_DM`'s is real time, the
    /// kernel program's becomes real time by an offset that is measured once an interval, and is wrong by as much as
    /// real time was set since. Of packets that look alike and came out of order, the wrong two may be joined, which
    /// are apart by as long as one was under way and the other waited: so not less than twice `wait`.
    pub apart: Duration,
    /// How many wait at most, 1 to 2³¹; beyond it, the one that has waited longest is told as heard by one.
    pub max_pending: usize,
}

impl Default for DedupeLimits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(1), apart: Duration::from_secs(2), max_pending: 1 << 20 }
    }
}

/// Joins the observations of two sources. `T` is what the caller knows an observation by.
///
/// After each [`take`](Self::take), [`advance`](Self::advance) and [`finish`](Self::finish), [`next_settled`](Self::next_settled) gives the
/// drops that are settled by it, one at a time until there are no more.
#[derive(Debug)]
pub struct Deduper<T> {
    wait_ns: u64,
    apart_ns: u64,
    now: Moment,
    /// When the last observation came, or later.
    latest: Moment,
    /// The last observation, until it is settled or waits.
    arrived: Option<Observation<T>>,
    /// The run is over: nothing waits any longer.
    is_over: bool,
    room: WaitingRoom<T>,
    ledger: DedupeLedger,
    listening: [bool; 2],
}

impl<T: Copy> Deduper<T> {
    /// With both sources listening. Allocates as observations wait, and keeps what it allocated.
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
            listening: [true; 2],
        }
    }

    /// Takes an observation that came at `now`. No time passes by that: a caller that reads both sources in turn knows
    /// only when it has read both that what still waits is not among what the other one has.
    pub fn take(&mut self, now: Moment, observation: Observation<T>) {
        debug_assert!(self.arrived.is_none(), "the drops that an observation settled were not taken");
        self.latest = self.latest.max(now);
        self.ledger.of(observation.origin).delivered += 1;
        self.arrived = Some(observation);
    }

    /// Settles the drops that have waited long enough. To be called now and then when nothing comes. A time before the
    /// latest counts as the latest.
    pub fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.latest = self.latest.max(now);
    }

    /// Settles all drops that wait: the run is over.
    pub const fn finish(&mut self) {
        self.is_over = true;
    }

    /// The next drop that is settled.
    pub fn next_settled(&mut self) -> Option<UniqueDrop<T>> {
        if let Some(observation) = self.arrived.take()
            && let Some(settled) = self.settle(observation)
        {
            return Some(settled);
        }
        self.next_due()
    }

    /// Whether `origin` will be heard from. While it will not, the other's drops need not wait. To be called with
    /// `false` only when all that it had was taken.
    pub fn set_listening(&mut self, origin: Origin, listening: bool) {
        self.listening[slot(origin)] = listening;
    }

    /// The account so far.
    pub fn ledger(&self) -> DedupeLedger {
        DedupeLedger { pending: self.room.len() as u64, ..self.ledger }
    }

    /// Bytes allocated now.
    pub fn bytes(&self) -> usize {
        self.room.bytes()
    }

    /// The most that [`Deduper::bytes`] can be with a given [`DedupeLimits::max_pending`]. While one of its two
    /// blocks grows, the old one is there as well, at most half as much again.
    pub const fn max_bytes(max_pending: usize) -> usize {
        WaitingRoom::<T>::max_bytes(max_pending)
    }

    /// The drop that an observation settles first; none where it waits from now on.
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
                // There may be more of them.
                self.arrived = Some(observation);
                let other = self.room.take(head);
                Some(self.alone(other.origin, other.drop, other.detail, AloneCause::Apart))
            }
            Partner::TooNew => Some(self.alone(origin, drop, detail, AloneCause::Apart)),
            Partner::None(head) => self.wait(hash, head, latest),
        }
    }

    /// Which of those that wait is of the same drop as `latest`.
    fn partner(&self, hash: u32, identity: &Identity, latest: &Waiting<T>) -> Partner {
        match self.room.head(hash, identity) {
            None => Partner::None(None),
            Some((head, other)) if other.origin == latest.origin => Partner::None(Some(head)),
            Some((head, other)) => {
                let (Timestamp(waited), Timestamp(came)) = (other.drop.timestamp, latest.drop.timestamp);
                if waited.abs_diff(came) <= self.apart_ns {
                    Partner::Found(head)
                } else if waited < came {
                    // Sources report in order of time, more or less: what is to come is newer still.
                    Partner::TooOld(head)
                } else {
                    Partner::TooNew
                }
            }
        }
    }

    /// Lets an observation wait; the drop that makes room for it, if one must, or its own where nothing will come.
    fn wait(&mut self, hash: u32, head: Option<Head>, latest: Waiting<T>) -> Option<UniqueDrop<T>> {
        if !self.listening[1 - slot(latest.origin)] {
            return Some(self.alone(latest.origin, latest.drop, latest.detail, AloneCause::Unaccompanied));
        }
        if !self.room.is_full() {
            self.room.push(hash, head, latest);
            return None;
        }
        let evicted = self.give_up_oldest(AloneCause::Evicted);
        // That may have been the head.
        let head = self.room.head(hash, &latest.identity()).map(|(head, _)| head);
        self.room.push(hash, head, latest);
        evicted
    }

    /// The oldest drop that waits, if it has waited long enough.
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

    fn alone(&mut self, origin: Origin, drop: Facts, detail: T, cause: AloneCause) -> UniqueDrop<T> {
        self.ledger.of(origin).alone.count(cause);
        self.ledger.unique += 1;
        UniqueDrop { drop, heard: Heard::Alone { origin, detail, cause } }
    }

    fn both(&mut self, one: &Waiting<T>, other: &Waiting<T>) -> UniqueDrop<T> {
        let (ebpf, net_dm) = match one.origin {
            Origin::Ebpf => (one, other),
            Origin::NetDm => (other, one),
        };
        self.ledger.unique += 1;
        self.ledger.duplicates += 1;
        let heard = Heard::Both { ebpf: ebpf.detail, net_dm: net_dm.detail };
        let ifindex = if ebpf.drop.ifindex == 0 { net_dm.drop.ifindex } else { ebpf.drop.ifindex };
        UniqueDrop { drop: Facts { ifindex, ..ebpf.drop }, heard }
    }
}

/// What waits for an observation.
enum Partner {
    /// One of the same drop.
    Found(Head),
    /// One of the other source, from too long before.
    TooOld(Head),
    /// Ones of the other source, the first of them from too long after.
    TooNew,
    /// None of the other source; the head of the same source's, if any.
    None(Option<Head>),
}

const fn slot(origin: Origin) -> usize {
    match origin {
        Origin::Ebpf => 0,
        Origin::NetDm => 1,
    }
}
