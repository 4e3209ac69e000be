//! Drops as two sources report them, and a plain method of joining them. The benchmarks and the test of memory share
//! this module.

pub mod plain;

use droptrace_base::domain::dedupe::Moment;
use droptrace_base::domain::event::{Origin, PacketStart, Timestamp};
use tracer::kernel::clock::Clock;
use tracer::pipeline::dedupe::{Deduper, Fingerprinter, Observation, SharedFacts, UniqueDrop};

/// Time between two drops: 1 250 000 a second.
pub const SPACING_NS: u64 = 800;

/// Both sources' records of one storm of drops, at eight drop sites.
pub struct Storm {
    prints: Fingerprinter,
    clock: Clock,
    bytes: [u8; 128],
    alike: bool,
}

impl Storm {
    /// Packets that all look alike, or all differ.
    pub fn new(alike: bool) -> Self {
        Self { prints: Fingerprinter::default(), clock: Clock::new(), bytes: [0x5a; 128], alike }
    }

    /// The drop `index`, in the terms that both sources share: the clock's domain and the packet's fingerprint.
    pub fn observe(&mut self, origin: Origin, index: u64) -> Observation<u32> {
        // The position of TCP's sequence number.
        let number = if self.alike { 0 } else { index };
        self.bytes[34..42].copy_from_slice(&number.to_be_bytes());
        let time = index * SPACING_NS;
        let timestamp = match origin {
            Origin::Ebpf => self.clock.real(time),
            Origin::NetDm => Timestamp(self.clock.real(time).0 + 3_000),
        };
        let site = index % 8;
        let drop = SharedFacts {
            timestamp,
            pc: 0xffff_ffff_8204_5927 + site * 64,
            reason: u32::try_from(site).unwrap_or(0),
            length: 106,
            netns: if origin == Origin::Ebpf { 4_026_531_833 } else { 0 },
            ifindex: 1,
        };
        Observation { origin, drop, print: self.prints.of(PacketStart::Mac, &self.bytes, 106), detail: site as u32 }
    }
}

/// Time at which userspace receives the drop `index` if it is reported at once.
pub const fn moment(index: u64) -> Moment {
    Moment(index * SPACING_NS)
}

/// Takes an observation after time has passed up to `now`, and passes the settled drops to `give`.
pub fn take(
    deduper: &mut Deduper<u32>,
    now: Moment,
    observation: Observation<u32>,
    give: &mut impl FnMut(&UniqueDrop<u32>),
) {
    deduper.advance(now);
    while let Some(drop) = deduper.next_settled() {
        give(&drop);
    }
    deduper.take(now, observation);
    while let Some(drop) = deduper.next_settled() {
        give(&drop);
    }
}
