//! The running backend, or both of them.

use crate::backend::TotalsSource;
use crate::backend::batch::Batch;
use crate::backend::dtr::Records;
use crate::backend::ebpf::{self, Drained, EbpfSource, Readers, RingReader, SegmentReader, Totals};
use crate::backend::net_dm::{self, NetDmSource};
use crate::pipeline::normalise::BlockNames;
use crate::pipeline::union::Union;

/// The running backend or backends.
pub(super) enum Running {
    /// The kernel program.
    Ebpf(Box<Ebpf>),
    /// The drop monitor.
    NetDm(Box<NetDm>),
    /// A backend that reports only totals.
    Totals(Box<dyn TotalsSource>),
    /// The kernel program and the drop monitor.
    Both(Box<Both>),
}

/// The kernel program, and its records if they were asked for.
pub(super) struct Ebpf {
    pub(super) source: EbpfSource,
    pub(super) ring: Option<RingReader>,
    /// Dropped segments and retransmissions, until the session takes the reader.
    pub(super) segments: Option<SegmentReader>,
    pub(super) batch: Batch<ebpf::Report>,
    /// Records that are passed on as they came; absent where the consumer takes single drops.
    pub(super) block: Option<Box<Block>>,
    pub(super) drained: Drained,
    /// Leading bytes of packets in records; 0 where the kernel does not let the program read them.
    pub(super) captured: usize,
    /// The last batch was full, so that more records may wait.
    pub(super) has_more: bool,
}

/// A block of records, and the names of their numbers.
#[derive(Default)]
pub(super) struct Block {
    pub(super) records: Records,
    pub(super) names: BlockNames,
}

/// The drop monitor.
pub(super) struct NetDm {
    pub(super) source: NetDmSource,
    pub(super) batch: Batch<net_dm::Report>,
}

/// Two backends, and their join.
pub(super) struct Both {
    pub(super) ebpf: Ebpf,
    pub(super) net_dm: NetDm,
    /// Joins both backends' reports of a drop; absent where each report is shown by itself.
    pub(super) union: Option<Union>,
    /// The kernel program's totals when the drop monitor started.
    pub(super) opening: Totals,
    /// The kernel program's totals just before the drop monitor stopped.
    pub(super) closing: Option<Totals>,
}

/// The parts of a running backend.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) ebpf: Option<&'a mut Ebpf>,
    pub(super) net_dm: Option<&'a mut NetDm>,
    pub(super) totals: Option<&'a mut dyn TotalsSource>,
    pub(super) union: Option<&'a mut Union>,
}

impl Running {
    pub(super) fn parts(&mut self) -> Parts<'_> {
        match self {
            Self::Ebpf(ebpf) => Parts { ebpf: Some(ebpf), ..Parts::default() },
            Self::NetDm(net_dm) => Parts { net_dm: Some(net_dm), ..Parts::default() },
            Self::Totals(totals) => Parts { totals: Some(&mut **totals), ..Parts::default() },
            Self::Both(both) => {
                let Both { ebpf, net_dm, union, .. } = &mut **both;
                Parts { ebpf: Some(ebpf), net_dm: Some(net_dm), totals: None, union: union.as_mut() }
            }
        }
    }

    pub(super) fn ebpf(&self) -> Option<&Ebpf> {
        match self {
            Self::Ebpf(ebpf) => Some(ebpf),
            Self::Both(both) => Some(&both.ebpf),
            Self::NetDm(_) | Self::Totals(_) => None,
        }
    }

    pub(super) fn net_dm(&self) -> Option<&NetDm> {
        match self {
            Self::NetDm(net_dm) => Some(net_dm),
            Self::Both(both) => Some(&both.net_dm),
            Self::Ebpf(_) | Self::Totals(_) => None,
        }
    }

    pub(super) fn both(&self) -> Option<&Both> {
        match self {
            Self::Both(both) => Some(both),
            _ => None,
        }
    }

    pub(super) fn both_mut(&mut self) -> Option<&mut Both> {
        match self {
            Self::Both(both) => Some(both),
            _ => None,
        }
    }
}

impl Ebpf {
    pub(super) fn new(source: EbpfSource, readers: Readers) -> Self {
        let Readers { records: ring, segments } = readers;
        let captured = source.captured() as usize;
        let (batch, drained) = (Batch::default(), Drained::default());
        Self { source, ring, segments, batch, block: None, drained, captured, has_more: false }
    }

    /// Reads the next batch of records, at most `limit`.
    pub(super) fn read(&mut self, limit: u64) {
        self.batch.clear();
        let Some(ring) = &mut self.ring else { return };
        let drained = ring.read(&mut self.batch, limit);
        self.has_more = drained.taken() == limit || self.batch.is_full();
        self.drained.add(drained);
    }

    /// Reads the next block of records, at most `limit`.
    pub(super) fn read_block(&mut self, limit: u64) {
        let (Some(ring), Some(block)) = (&mut self.ring, &mut self.block) else { return };
        block.records.clear();
        let drained = ring.copy(&mut block.records, limit);
        self.has_more = drained.taken() == limit || block.records.is_full();
        self.drained.add(drained);
    }
}

impl NetDm {
    pub(super) fn new(source: NetDmSource) -> Self {
        Self { source, batch: Batch::default() }
    }

    /// Reads the next batch of alerts, about `limit`.
    pub(super) fn read(&mut self, limit: u64) -> Result<(), net_dm::Error> {
        self.batch.clear();
        self.source.read(&mut self.batch, usize::try_from(limit).unwrap_or(usize::MAX))
    }
}
