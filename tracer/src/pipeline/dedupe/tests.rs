//! Tests the deduper against a plain model that scans all waiting observations, and against the drops that truly
//! happened.

mod model;
mod plays;
mod properties;

use std::time::Duration;

use super::*;
use crate::domain::event::PacketStart;

const MAC: PacketStart = PacketStart::Mac;
const WAIT: u64 = 1000;
const APART: u64 = 2 * WAIT;

fn limits(max_pending: usize) -> DedupeLimits {
    DedupeLimits { wait: Duration::from_nanos(WAIT), apart: Duration::from_nanos(APART), max_pending }
}

/// An observation of the packet `packet`, at one drop site.
fn observation(prints: &Fingerprinter, origin: Origin, timestamp: u64, packet: u64, detail: u64) -> Observation<u64> {
    let bytes = [packet.to_be_bytes(); 8].concat();
    let drop = SharedFacts { timestamp: Timestamp(timestamp), pc: 1, reason: 6, length: 64, netns: 0, ifindex: 0 };
    Observation { origin, drop, print: prints.of(MAC, &bytes, 64), detail }
}

/// A deduper, and all drops that it returned.
struct Desk {
    prints: Fingerprinter,
    deduper: Deduper<u64>,
    settled: Vec<UniqueDrop<u64>>,
}

impl Desk {
    fn new(max_pending: usize) -> Self {
        Self { prints: Fingerprinter::default(), deduper: Deduper::new(limits(max_pending)), settled: Vec::new() }
    }

    fn report(&mut self, now: u64, origin: Origin, timestamp: u64, packet: u64, detail: u64) {
        let observation = observation(&self.prints, origin, timestamp, packet, detail);
        self.take(now, observation);
    }

    fn take(&mut self, now: u64, observation: Observation<u64>) {
        self.advance(now);
        self.deduper.take(Moment(now), observation);
        self.settle();
    }

    fn advance(&mut self, now: u64) {
        self.deduper.advance(Moment(now));
        self.settle();
    }

    fn flush(&mut self) {
        self.deduper.finish();
        self.settle();
        assert_eq!(self.deduper.ledger().pending, 0);
    }

    fn settle(&mut self) {
        while let Some(drop) = self.deduper.next_settled() {
            self.settled.push(drop);
        }
        self.check();
    }

    /// Checks the invariants that hold after each step.
    fn check(&self) {
        let ledger = self.deduper.ledger();
        assert_eq!(ledger.unaccounted(), 0, "{ledger:?}");
        assert_eq!(ledger.unique, self.settled.len() as u64);
        assert_eq!(ledger.unique, ledger.duplicates + ledger.ebpf.alone.total() + ledger.net_dm.alone.total());
    }

    fn seen_by(&self) -> Vec<SeenBy<u64>> {
        self.settled.iter().map(|drop| drop.seen_by).collect()
    }
}

fn both(ebpf: u64, net_dm: u64) -> SeenBy<u64> {
    SeenBy::Both { ebpf, net_dm }
}

fn alone(origin: Origin, detail: u64, cause: AloneCause) -> SeenBy<u64> {
    SeenBy::Alone { origin, detail, cause }
}
