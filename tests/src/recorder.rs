//! Records each drop with the kernel program of droptrace, and a fact that its output does not show: whether the packet
//! had a link header.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use droptrace_base::domain::event::PacketStart;
use tokio::runtime::Runtime;
use tracer::backend::batch::Batch;
use tracer::backend::ebpf::{Drained, EbpfSource, EventOptions, Mode, Options, RingReader};
use tracer::kernel::btf::KernelBtf;
use tracer::kernel::symbols::Functions;

/// Room for all records of a test, which are read at its end.
const RING_SIZE: u32 = 64 << 20;
/// Length of a link header.
const SNAPLEN: u32 = 14;

/// Drops at one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Drops of packets with a link header.
    pub with_link_header: u64,
    /// Drops of packets without a link header.
    pub without: u64,
}

impl Split {
    /// All drops.
    pub fn total(&self) -> u64 {
        self.with_link_header + self.without
    }
}

/// All drops that were recorded.
pub struct Recorded {
    /// By the address that freed the packet.
    pub drops: BTreeMap<u64, Split>,
    /// Drops that the kernel withheld, because they came while the program ran on the same processor.
    pub withheld: u64,
}

/// A kernel program that records the drops of the whole host.
pub struct Recorder {
    runtime: Runtime,
    source: EbpfSource,
    ring: RingReader,
    drops: BTreeMap<u64, Split>,
    drained: Drained,
}

impl Recorder {
    /// Starts recording.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let context = runtime.enter();
        let events = EventOptions { snaplen: SNAPLEN, rate: 0, ring_size: RING_SIZE, stacks: false, one_in: 1 };
        let options =
            Options { map_entries: 8192, events: Some(events), max_rows: 1 << 16, ..Options::least(Mode::TpBtf, true) };
        let (source, readers) = EbpfSource::start(&options, &KernelBtf::load()?, &Functions::default())?;
        drop(context);
        let ring = readers.records.context("no ring")?;
        Ok(Self { runtime, source, ring, drops: BTreeMap::new(), drained: Drained::default() })
    }

    /// Reads the waiting records. Returns the number of drops so far.
    pub fn read(&mut self) -> u64 {
        let Self { ring, drops, drained, .. } = self;
        let mut batch = Batch::default();
        loop {
            batch.clear();
            let taken = ring.read(&mut batch, u64::MAX);
            for (report, _) in batch.iter() {
                let split = drops.entry(report.header.key.location).or_default();
                match report.start {
                    PacketStart::Mac => split.with_link_header += 1,
                    PacketStart::Network | PacketStart::Nothing => split.without += 1,
                }
            }
            drained.delivered += taken.delivered;
            drained.undecodable += taken.undecodable;
            if taken.taken() == 0 {
                return drained.delivered;
            }
        }
    }

    /// Stops recording. Returns the drops; no record but those that the kernel withheld may be missing.
    pub fn finish(mut self) -> Result<Recorded> {
        self.source.detach()?;
        self.read();
        let Self { runtime, source, drops, drained, .. } = self;
        let _context = runtime.enter();
        let ledger = source.ledger(drained);
        let events = ledger.events.context("no records")?;
        ensure!(events.submitted == ledger.hits && drained.delivered == ledger.hits, "records are missing: {ledger:?}");
        Ok(Recorded { drops, withheld: ledger.lost() })
    }
}
