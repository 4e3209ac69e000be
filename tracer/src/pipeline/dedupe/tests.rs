//! Against a plain model that scans all that waits, and against what truly happened.

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

/// An observation of the packet `packet`, at one place.
fn heard(prints: &Fingerprinter, origin: Origin, timestamp: u64, packet: u64, detail: u64) -> Observation<u64> {
    let bytes = [packet.to_be_bytes(); 8].concat();
    let drop = Facts { timestamp: Timestamp(timestamp), pc: 1, reason: 6, length: 64, netns: 0, ifindex: 0 };
    Observation { origin, drop, print: prints.of(MAC, &bytes, 64), detail }
}

/// A deduper, and all that it told.
struct Desk {
    prints: Fingerprinter,
    deduper: Deduper<u64>,
    told: Vec<UniqueDrop<u64>>,
}

impl Desk {
    fn new(max_pending: usize) -> Self {
        Self { prints: Fingerprinter::default(), deduper: Deduper::new(limits(max_pending)), told: Vec::new() }
    }

    fn hear(&mut self, now: u64, origin: Origin, timestamp: u64, packet: u64, detail: u64) {
        let observation = heard(&self.prints, origin, timestamp, packet, detail);
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
            self.told.push(drop);
        }
        self.check();
    }

    /// What holds after each step.
    fn check(&self) {
        let ledger = self.deduper.ledger();
        assert_eq!(ledger.unaccounted(), 0, "{ledger:?}");
        assert_eq!(ledger.unique, self.told.len() as u64);
        assert_eq!(ledger.unique, ledger.duplicates + ledger.ebpf.alone.total() + ledger.net_dm.alone.total());
    }

    fn heard(&self) -> Vec<Heard<u64>> {
        self.told.iter().map(|drop| drop.heard).collect()
    }
}

fn both(ebpf: u64, net_dm: u64) -> Heard<u64> {
    Heard::Both { ebpf, net_dm }
}

fn alone(origin: Origin, detail: u64, cause: AloneCause) -> Heard<u64> {
    Heard::Alone { origin, detail, cause }
}
