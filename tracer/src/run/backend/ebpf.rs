//! The BPF program in a run.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};

use super::contract::{BATCH, BackendFacts, Counted, Ended, Wake, Way};
use super::options::Options;
use crate::backend::batch::Batch;
use crate::backend::dtr::Records;
use crate::backend::ebpf::{self as program, Drained, EbpfSource, Mode, Report, RingReader};
use crate::domain::dedupe::Moment;
use crate::domain::event::Origin;
use crate::domain::report::SourceReport;
use crate::domain::unavailable::Unavailable;
use crate::kernel::running::RunningKernel;
use crate::kernel::support::{Facts, Lockdown};
use crate::kernel::symbols::Functions;
use crate::pipeline::normalise::{BlockNames, Normaliser};
use crate::run::outlet::Consumer;
use crate::run::retransmits::Retransmits;

/// What the backend is, and what it lacks.
pub(super) const fn facts(mode: Mode) -> BackendFacts {
    BackendFacts {
        source: "ebpf",
        mode: mode.name(),
        about: "The BPF program on `kfree_skb`",
        loses: match mode {
            Mode::TpBtf => "nothing",
            Mode::RawTracepoint => "time: each drop costs several times as much",
        },
        cannot_see: "connections that a listener refuses, losses in network cards and drivers, XDP_DROP in a driver; the kernel's counters show most of them",
        reports_single_drops: true,
        sees_drops: true,
    }
}

/// Attaches the programs with these options, and detaches them. Returns why refused SYNs are not counted, if the options ask
/// for them.
pub(crate) fn try_out(
    options: &program::Options,
    kernel: &RunningKernel,
    facts: &Facts,
) -> Result<Option<Unavailable>, Unavailable> {
    if let Some(obstacle) = facts.obstacles().first() {
        return Err(obstacle.into());
    }
    let btf = kernel.btf().map_err(Unavailable::because)?;
    let (mut source, _) =
        EbpfSource::start(options, btf, &Functions::default()).map_err(|error| error.explained(facts))?;
    let refused = source.refused_unavailable().cloned();
    source.detach().map_err(|error| error.explained(facts))?;
    Ok(refused)
}

/// The running program, and its records if they were asked for.
pub(crate) struct Ebpf {
    pub(super) source: EbpfSource,
    ring: Option<RingReader>,
    batch: Batch<Report>,
    /// Records that are passed on as they came; absent where the consumer takes single drops.
    block: Option<Box<Block>>,
    pub(super) drained: Drained,
    /// Leading bytes of packets in records; 0 where the kernel does not let the program read them.
    pub(super) captured: usize,
    /// The last batch was full, so that more records may wait.
    pub(super) has_more: bool,
    /// Time at which the records were last read to their end.
    pub(super) read_at: Moment,
    /// Retransmissions, if they are asked for.
    retransmits: Option<Retransmits>,
}

/// A block of records, and the names of their numbers.
#[derive(Default)]
struct Block {
    records: Records,
    names: BlockNames,
}

impl Ebpf {
    /// `is_alone`: no other backend reports the same drops, so that records may be passed on in blocks.
    pub(super) fn start(mode: Mode, options: &Options, facts: &Facts, is_alone: bool) -> Result<Self, Unavailable> {
        if let Some(obstacle) = facts.obstacles().first() {
            return Err(obstacle.into());
        }
        let kernel = &options.kernel;
        let btf = kernel.btf().map_err(Unavailable::because)?;
        let (source, readers) = EbpfSource::start(&asked(mode, options, facts)?, btf, kernel.functions())
            .map_err(|error| error.explained(facts))?;
        if let Some(why) = source.refused_unavailable() {
            tracing::debug!("refused SYNs are not counted: {why}");
        }
        let captured = source.captured() as usize;
        if captured == 0 && options.events.as_ref().is_some_and(|events| events.snaplen > 0) {
            tracing::warn!(
                "the kernel is locked down (confidentiality): packets are shown without their addresses and ports"
            );
        }
        Ok(Self {
            source,
            ring: readers.records,
            batch: Batch::default(),
            block: (is_alone && options.blocks).then(Box::default),
            drained: Drained::default(),
            captured,
            has_more: false,
            read_at: Moment::default(),
            retransmits: readers.segments.map(Retransmits::new),
        })
    }

    /// Waits for the next event. The future may be dropped at any time.
    pub(super) async fn ready(&mut self) -> Result<Wake> {
        let Self { ring, has_more, retransmits, .. } = self;
        tokio::select! {
            biased;
            () = segments(retransmits.as_mut()) => Ok(Wake::Segments),
            wake = records(ring.as_mut(), *has_more) => wake,
        }
    }

    /// Passes at most `limit` drops from the ring buffer to the consumer: record, names, join, consumer.
    pub(super) fn read(&mut self, now: Moment, limit: u64, way: &mut Way<'_, '_, impl Consumer>) {
        if self.block.is_some() {
            self.read_block(limit, way);
        } else {
            self.read_records(now, limit, way);
        }
        if !self.has_more {
            self.read_at = now;
        }
    }

    fn read_records(&mut self, now: Moment, limit: u64, way: &mut Way<'_, '_, impl Consumer>) {
        self.fill(limit);
        let Way { normaliser, union, outlet, .. } = way;
        normaliser.want_processes(self.batch.iter().map(|(report, _)| report));
        normaliser.search_processes();
        let mut stack = Vec::new();
        for (report, bytes) in self.batch.iter() {
            let (addresses, bytes) = report.split(bytes);
            stack.clear();
            if !addresses.is_empty() {
                normaliser.stack(addresses, report.header.key.location, &mut stack);
            }
            let trap = self.source.trap(&report.header.key);
            let named = normaliser.named_key(&report.header.key, report.names(), trap);
            let process = normaliser.process(report);
            let event = normaliser.event(report, bytes, &named, process.as_ref(), &stack);
            outlet.join(union.as_deref_mut(), now, Origin::Ebpf, &event);
        }
    }

    /// Fills the batch with at most `limit` records.
    fn fill(&mut self, limit: u64) {
        self.batch.clear();
        let Some(ring) = &mut self.ring else { return };
        let drained = ring.read(&mut self.batch, limit);
        self.has_more = drained.taken() == limit || self.batch.is_full();
        self.drained.add(drained);
    }

    /// Passes a block of at most `limit` records to the consumer: copied, names, consumer.
    fn read_block(&mut self, limit: u64, way: &mut Way<'_, '_, impl Consumer>) {
        let (Some(ring), Some(block)) = (&mut self.ring, &mut self.block) else { return };
        let Block { records, names } = &mut **block;
        records.clear();
        let drained = ring.copy(records, limit);
        self.has_more = drained.taken() == limit || records.is_full();
        self.drained.add(drained);
        if records.count() > 0 {
            way.normaliser.block_names(records, names, Some(&self.source), !self.has_more);
            way.outlet.give_block(records, names);
        }
    }

    /// Passes the retransmissions that are there to the consumer: record, join, names, consumer.
    pub(super) fn read_segments(&mut self, way: &mut Way<'_, '_, impl Consumer>) {
        let Some(retransmits) = &mut self.retransmits else { return };
        while let Some(event) = retransmits.next(way.normaliser) {
            way.outlet.give_retransmission(&event);
        }
    }

    /// Frees the program's room for keys, even where no consumer reads the totals before the end, and learns the names of
    /// owners while they exist.
    pub(super) fn second(&mut self, normaliser: &mut Normaliser) -> Result<()> {
        let totals = self.source.totals()?;
        normaliser.learn_owners(totals);
        normaliser.learn_processes(totals, false);
        Ok(())
    }

    /// Detaches the program, and passes on the remaining records.
    pub(super) fn stop(&mut self, way: &mut Way<'_, '_, impl Consumer>) -> Ended {
        let detached = self.source.detach();
        let at = Instant::now();
        self.read_rest(way);
        Ended { at, result: detached.map_err(Into::into) }
    }

    /// Passes on the remaining records of a detached program, as many as the consumer wants.
    pub(super) fn read_rest(&mut self, way: &mut Way<'_, '_, impl Consumer>) {
        let now = way.now();
        loop {
            let limit = BATCH.min(way.outlet.consumer.wanted());
            if limit == 0 {
                break;
            }
            self.read(now, limit, way);
            if !self.has_more {
                break;
            }
        }
        self.read_segments(way);
    }

    /// The totals so far. `is_final`: no more drops are counted.
    pub(super) fn counted(&mut self, is_final: bool, normaliser: &mut Normaliser) -> Result<Counted> {
        let Self { source, drained, retransmits, .. } = self;
        let flows = source.flow_facts();
        let totals = source.totals()?;
        normaliser.learn_processes(totals, is_final);
        let drops = if flows == 0 { normaliser.totals(totals) } else { normaliser.flows(totals, flows) };
        let overflow = normaliser.overflow(totals);
        let refused = source.refused()?.map(|counts| normaliser.refused(&counts));
        let retransmissions = retransmits.as_ref().map(|found| found.report(source.segments(), &drops));
        Ok(Counted { sources: vec![source.report(*drained)], drops, overflow, refused, retransmissions })
    }

    /// The ledger, with the names of the drop sites at which records were held back.
    pub(super) fn report(&mut self, normaliser: &mut Normaliser) -> Result<SourceReport> {
        self.source.totals()?;
        let held_back = normaliser.held_back(self.source.held_back()?, &self.source);
        Ok(SourceReport { held_back, ..self.source.report(self.drained) })
    }
}

/// The program's options for a run.
fn asked(mode: Mode, options: &Options, facts: &Facts) -> Result<program::Options, Unavailable> {
    let Options { map_entries, ifindex, max_rows, kernel_log, flows, retransmits, refused, .. } = *options;
    let split = options.filter.as_ref().map(|filter| filter.split()).transpose().map_err(Unavailable::because)?;
    // Conditions on processes are for the consumer of single drops.
    let filter = split.and_then(|split| split.counted).map(Arc::new);
    Ok(program::Options {
        mode,
        map_entries,
        events: options.events.clone(),
        netns: options.netns.clone(),
        ifindex,
        max_rows,
        filter,
        cgroups: options.owners.cgroups,
        flows,
        retransmits,
        refused,
        kernel_log,
        may_probe: may_probe(facts),
    })
}

/// Whether the kernel lets the program read its memory.
const fn may_probe(facts: &Facts) -> bool {
    !matches!(facts.lockdown, Lockdown::Confidentiality)
}

/// The least that can be asked of the program.
pub(crate) fn least(mode: Mode, facts: &Facts) -> program::Options {
    program::Options::least(mode, may_probe(facts))
}

/// Waits for records, if the program sends any.
async fn records(ring: Option<&mut RingReader>, has_more: bool) -> Result<Wake> {
    match ring {
        Some(_) if has_more => tokio::task::yield_now().await,
        Some(ring) => ring.ready().await.context("cannot wait for records")?,
        None => pending().await,
    }
    Ok(Wake::Drops)
}

/// Waits until it is time to read dropped segments and retransmissions, if they are asked for.
async fn segments(retransmits: Option<&mut Retransmits>) {
    match retransmits {
        Some(retransmits) => retransmits.ready().await,
        None => pending().await,
    }
}
