//! Where the drops of a run go: the consumer, and the join of two backends before it.

use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use anyhow::Result;

use super::Session;
use crate::backend::dtr::Records;
use crate::domain::dedupe::Moment;
use crate::domain::event::{DropEvent, Origin};
use crate::domain::retransmit::RetransmitEvent;
use crate::pipeline::normalise::BlockNames;
use crate::pipeline::union::Union;

/// The consumer of a run's drops.
///
/// All methods do nothing by default; a consumer implements the ones that it needs.
pub trait Consumer {
    /// Number of further drops that the consumer wants; the run ends with the last one.
    fn wanted(&self) -> u64 {
        u64::MAX
    }

    /// Takes one drop. After an error the consumer receives no further drop, but all drops are counted.
    fn event(&mut self, _event: &DropEvent<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Takes records of the BPF program as they came, in a run of [`super::Options::blocks`]. After an error the consumer
    /// receives no further block, but all drops are counted.
    fn block(&mut self, _records: &Records, _names: &BlockNames) -> io::Result<()> {
        Ok(())
    }

    /// Takes one retransmission, in a run of [`super::Options::retransmits`]. After an error the consumer receives nothing
    /// further.
    fn retransmission(&mut self, _event: &RetransmitEvent) -> io::Result<()> {
        Ok(())
    }

    /// Called before drops that are read at `now`. The consumer has received all drops that were settled before
    /// `settled`.
    fn reading(&mut self, _now: Moment, _settled: Moment) {}

    /// Called when no more drops are there at the moment.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Interval of the calls of [`tick`](Self::tick); absent for no calls.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Called after each interval.
    fn tick(&mut self, _session: &mut Session) -> Result<()> {
        Ok(())
    }

    /// Waits for the consumer's other work, and does it. The future is dropped and called again whenever another event
    /// comes first; after its end, the interval is read again.
    fn other(&mut self) -> impl Future<Output = ()> {
        pending()
    }
}

/// A consumer that takes no drop, for runs that need only totals.
pub struct TotalsOnly;

impl Consumer for TotalsOnly {}

/// The consumer, and the error that it failed with.
pub(super) struct Outlet<'c, C> {
    pub(super) consumer: &'c mut C,
    /// The consumer failed in an earlier batch.
    has_failed: bool,
    pub(super) result: io::Result<()>,
}

impl<'c, C: Consumer> Outlet<'c, C> {
    pub(super) fn new(consumer: &'c mut C, has_failed: bool) -> Self {
        Self { consumer, has_failed, result: Ok(()) }
    }

    pub(super) fn give(&mut self, event: &DropEvent<'_>) {
        if !self.has_failed && self.result.is_ok() {
            self.result = self.consumer.event(event);
        }
    }

    pub(super) fn give_retransmission(&mut self, event: &RetransmitEvent) {
        if !self.has_failed && self.result.is_ok() {
            self.result = self.consumer.retransmission(event);
        }
    }

    pub(super) fn give_block(&mut self, records: &Records, names: &BlockNames) {
        if !self.has_failed && self.result.is_ok() {
            self.result = self.consumer.block(records, names);
        }
    }

    /// Passes on a drop that `origin` reported at `now`: at once, or where two backends are joined, the drops that it
    /// settles.
    pub(super) fn join(&mut self, union: Option<&mut Union>, now: Moment, origin: Origin, event: &DropEvent<'_>) {
        match union {
            Some(union) => {
                union.take(now, origin, event);
                self.settled(union);
            }
            None => self.give(event),
        }
    }

    /// Passes on the settled drops. All of them are counted, even after the consumer has failed.
    pub(super) fn settled(&mut self, union: &mut Union) {
        while let Some(event) = union.next_settled() {
            self.give(&event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::PacketStart;
    use crate::domain::facts::Facts;
    use crate::sink::samples::{NEW_YEAR, key};

    /// A consumer that fails at its second drop.
    #[derive(Default)]
    struct Fails {
        given: u32,
    }

    impl Consumer for Fails {
        fn event(&mut self, _event: &DropEvent<'_>) -> io::Result<()> {
            self.given += 1;
            if self.given < 2 { Ok(()) } else { Err(io::Error::other("full")) }
        }
    }

    #[test]
    fn a_consumer_that_failed_gets_no_further_drop() {
        let mut consumer = Fails::default();
        let mut outlet = Outlet::new(&mut consumer, false);
        let event = DropEvent {
            stack: &[],
            process: None,
            timestamp: NEW_YEAR,
            key: &key().into(),
            seen_by: Origin::Ebpf.alone(),
            length: 0,
            start: PacketStart::Nothing,
            bytes: &[],
            facts: Facts::default(),
        };
        for _ in 0..3 {
            outlet.give(&event);
        }
        assert!(outlet.result.is_err());
        let mut later = Outlet::new(&mut consumer, true);
        later.give(&event);
        assert!(later.result.is_ok());
        assert_eq!(consumer.given, 2);
    }
}
