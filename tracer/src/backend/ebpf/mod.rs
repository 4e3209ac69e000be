//! The eBPF source: the kernel program on `kfree_skb`, its counts and its records.

mod constants;
mod count;
mod error;
mod feature;
mod filter;
mod fit;
mod flow_totals;
mod flows;
mod generations;
mod identify;
mod loader;
mod options;
mod probe;
mod receivers;
mod record;
mod refused;
mod ring;
mod segments;
mod stack;
mod stats;
mod sys;
mod totals;

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use aya_log::EbpfLogger;
use tracer_common::{ABSENT, Config, DropKey, KIND_TRAP, READ_CAST, SegmentCounts, SiteKey, TrapNames};

pub use count::Count;
pub use error::Error;
pub use filter::{FilterRefused, Unresolved};
pub(crate) use fit::default_room;
pub use options::{EventOptions, Options};
pub(crate) use record::interface_name;
pub use record::{Record, Report, text};
pub use refused::RefusedCounts;
pub use ring::{Drained, RingReader};
pub use segments::{Segment, SegmentReader};
pub(crate) use stack::CallStack;
pub(crate) use stats::ProgramStats;
pub use totals::Totals;

use crate::domain::event::Timestamp;
use crate::domain::ledger::{EbpfLedger, EventLedger, Ledger};
use crate::domain::report::SourceReport;
use crate::domain::unavailable::Unavailable;
use crate::kernel::btf::KernelBtf;
use crate::kernel::symbols::Functions;
use feature::Features;
use filter::Resolver;
use generations::Generations;
pub use identify::NamespaceQuestion;
use loader::{Attachment, Loader};
use probe::{Programs, QDISC_DROP, TCP_RETRANSMIT_SKB};
use receivers::Receivers;
use refused::RefusedSyns;
use totals::Ticks;

/// The type of the attached program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `BPF_TRACE_RAW_TP` with typed arguments: plain loads, the cheapest.
    TpBtf,
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`: a helper reads the fields.
    RawTracepoint,
}

impl Mode {
    /// The name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTracepoint => "raw_tracepoint",
        }
    }

    /// The program on `kfree_skb`. That of raw tracepoints has no loads that fault.
    const fn program(self, features: &Features) -> &'static str {
        match self {
            Self::TpBtf if features.first_function_may_fault => "kfree_skb_btf",
            Self::TpBtf => "kfree_skb_called",
            Self::RawTracepoint => "kfree_skb_raw",
        }
    }
}

/// The reading ends of the ring buffers; absent for those that are not asked for.
pub struct Readers {
    /// Records of single drops.
    pub records: Option<RingReader>,
    /// Dropped segments of TCP, and retransmissions.
    pub segments: Option<SegmentReader>,
}

/// The running source.
pub struct EbpfSource {
    mode: Mode,
    programs: Programs,
    generations: Generations,
    totals: Totals,
    has_events: bool,
    rate: u32,
    has_cookies: bool,
    captured: u32,
    flow_facts: u32,
    question: Arc<NamespaceQuestion>,
    /// Absent if refused SYNs are not asked for.
    refused: Option<Result<RefusedSyns, Unavailable>>,
}

impl EbpfSource {
    /// Loads and attaches the programs. Drops are counted from then on. If the options ask for records, or for
    /// retransmissions, the readers return them.
    ///
    /// The caller must be within a tokio runtime.
    pub fn start(options: &Options, btf: &KernelBtf, functions: &Functions) -> Result<(Self, Readers), Error> {
        let features = Features::ask(btf, options.may_probe);
        let tick_ns = fit::tick_ns()?;
        let takes_numbers = options.mode == Mode::RawTracepoint || features.reads() == Some(READ_CAST);
        let receivers = Receivers::ask(options, btf, takes_numbers);
        let mut config = Config { udp_receivers: receivers.form, ..fit::config(options, btf, &features, tick_ns)? };
        if options.refused {
            refused::write_offsets(btf, &mut config.offsets);
        }
        if options.retransmits {
            probe::sees_retransmissions(btf, &config).map_err(Error::Retransmissions)?;
        }
        let mut loader = fit::loader(options, &config, &features)?;
        let ring = options.events.as_ref().map(|_| reader(&mut loader)).transpose()?;
        let segments = if options.retransmits { Some(loader.take_ring(fit::SEGMENTS)?) } else { None };
        let question = namespace_question(&loader)?;
        let own = ask_own(&question)?;
        let has_cookies = config.offsets.net_cookie != ABSENT;
        let has_users = config.offsets.sock_uid != ABSENT;
        let resolver = Resolver { btf, functions, namespaces: &question, has_cookies, has_users };
        let filter = options.filter.as_deref().map(|filter| filter::instructions(filter, &features, &resolver));
        loader.link(filter.transpose()?)?;
        let clock = Ticks { jiffies: own.ticks, ns: own.now_ns, tick_ns };
        let cpus = aya::util::nr_cpus().map_err(|(what, source)| Error::Read { what, source })?;
        let generations = Generations::open(|name| loader.map_fd(name), cpus, &config, clock, options.max_rows)?;
        let wanted = options.netns.as_ref().map_or(Ok(0), |wanted| question.number_of(wanted, has_cookies));
        let wanted =
            wanted.map_err(|source| Error::Read { what: "the cookie of the wanted network namespace", source })?;
        generations
            .set_state(own.ops, wanted, &receivers.queues)
            .map_err(|source| Error::Read { what: "the kernel program's state", source })?;
        let mut programs = Programs::attach(&loader, options.mode, btf, &features)?;
        if options.kernel_log {
            forward_log(programs.main());
        }
        programs.attach_others(&loader, btf, &config);
        if options.retransmits && !programs.have(&TCP_RETRANSMIT_SKB) {
            return Err(Error::Retransmissions("the kernel refused the program"));
        }
        let refused = options.refused.then(|| RefusedSyns::attach(&loader, btf, &config, cpus, wanted));
        let source = Self {
            mode: options.mode,
            programs,
            generations,
            totals: Totals::default(),
            has_events: ring.is_some(),
            rate: config.rate,
            has_cookies,
            captured: config.snaplen,
            flow_facts: config.flows,
            question: Arc::new(question),
            refused,
        };
        Ok((source, Readers { records: ring, segments: segments.map(SegmentReader::new) }))
    }

    /// The type of the attached program.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Time from which on drops are counted, in real time and as an instant.
    pub(crate) const fn attached_at(&self) -> (Timestamp, Instant) {
        self.programs.attached_at()
    }

    /// Whether namespaces are identified by cookies, which are never reused; else by inode numbers, which are.
    pub const fn has_cookies(&self) -> bool {
        self.has_cookies
    }

    /// Identifies the namespace of an open file, for as long as a caller keeps the returned value.
    pub(crate) fn namespace_question(&self) -> Arc<NamespaceQuestion> {
        Arc::clone(&self.question)
    }

    /// Number of leading bytes of packets in records.
    pub const fn captured(&self) -> u32 {
        self.captured
    }

    /// The facts of flows that are counted: bits of [`tracer_common::Config::flows`].
    pub(crate) const fn flow_facts(&self) -> u32 {
        self.flow_facts
    }

    /// All drops that were counted up to now. Each reading is exact: no drop is counted twice or left out while drops
    /// go on. The call takes a grace period of the kernel, some milliseconds.
    pub fn totals(&mut self) -> Result<&Totals, Error> {
        if self.programs.are_attached() {
            self.generations
                .read_into(&mut self.totals)
                .map_err(|source| Error::Read { what: "the kernel program's counts", source })?;
        }
        Ok(&self.totals)
    }

    /// The names of the devlink trap that a key is of; absent for other keys.
    pub fn trap(&self, key: &DropKey) -> Option<TrapNames> {
        if key.kind != KIND_TRAP {
            return None;
        }
        self.totals.trap(key).or_else(|| self.generations.trap(key.location))
    }

    /// The ledger as of the last reading of the totals. `drained` counts the records that were read.
    pub fn ledger(&self, drained: Drained) -> EbpfLedger {
        let counters = &self.totals.counters;
        EbpfLedger {
            hits: self.totals.hits,
            accounted: self.totals.accounted(),
            overflow: counters.overflow,
            filtered: counters.filtered,
            unknown_netns: counters.unknown_netns,
            unrecorded: 0,
            nested: self.totals.nested,
            missed: self.missed(),
            qdisc_unmatched: self.programs.have(&QDISC_DROP).then_some(self.totals.qdisc_unmatched),
            events: self.has_events.then_some(EventLedger {
                offered: counters.offered,
                submitted: counters.submitted,
                suppressed: counters.suppressed,
                ring_full: counters.ring_full,
                delivered: drained.delivered,
                undecodable: drained.undecodable,
                unreadable: counters.unreadable,
                rate: self.rate,
            }),
        }
    }

    /// Retransmissions as of the last reading of the totals, and the records of segments that were lost. Retransmissions that
    /// the kernel did not show to the program are counted and lost.
    pub fn segments(&self) -> SegmentCounts {
        let mut counts = self.totals.segments;
        let missed = self.programs.missed(&TCP_RETRANSMIT_SKB);
        counts.retransmissions += missed;
        counts.retransmissions_lost += missed;
        counts
    }

    /// Why refused SYNs are not counted although the options ask for them.
    pub(crate) fn refused_unavailable(&self) -> Option<&Unavailable> {
        self.refused.as_ref()?.as_ref().err()
    }

    /// The SYNs that listening sockets refused up to now, as far as they are counted. After [`EbpfSource::detach`], the numbers
    /// are final.
    pub fn refused(&self) -> Result<Option<RefusedCounts>, Error> {
        let Some(Ok(refused)) = &self.refused else { return Ok(None) };
        refused.read().map(Some).map_err(|source| Error::Read { what: "the refused SYNs", source })
    }

    /// The ledger with the source's name, for sinks, as of the last reading of the totals. The sums of held-back
    /// records have no names yet, because this source does not resolve names.
    pub fn report(&self, drained: Drained) -> SourceReport {
        SourceReport { mode: self.mode.name(), ledger: Ledger::Ebpf(self.ledger(drained)), held_back: vec![] }
    }

    /// Records that the sampler held back, by drop site, the largest number first.
    pub(crate) fn held_back(&self) -> Result<Vec<(SiteKey, u64)>, Error> {
        if !self.has_events {
            return Ok(vec![]);
        }
        self.generations.held_back().map_err(|source| Error::Read { what: "what was held back", source })
    }

    /// Drops that the kernel did not show to the programs that count them, because the same program was running already
    /// on that CPU. Kernels before 6.1 always show them, and the counting programs report 0 or nothing
    /// (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`).
    fn missed(&self) -> u64 {
        let stats = self.programs.counting().map(|program| ProgramStats::read(program.fd()));
        stats.filter_map(|stats| stats.ok()?.recursion_misses).sum()
    }

    /// Detaches the programs, waits for their last runs, and reads their final counts.
    pub fn detach(&mut self) -> Result<(), Error> {
        if let Some(Ok(refused)) = &mut self.refused {
            refused.detach();
        }
        if !self.programs.detach() {
            return Ok(());
        }
        self.generations
            .read_last_into(&mut self.totals)
            .map_err(|source| Error::Read { what: "the kernel program's counts", source })
    }
}

/// The kernel's answer about this process's own namespace, and its clocks.
fn ask_own(question: &NamespaceQuestion) -> Result<tracer_common::NamespaceAnswer, Error> {
    let ask = || question.ask(File::open("/proc/self/ns/net")?.as_fd());
    ask().map_err(|source| Error::Read { what: "this process's network namespace", source })
}

/// The reading end of the ring buffer of records.
fn reader(loader: &mut Loader) -> Result<RingReader, Error> {
    let ring = loader.take_ring(fit::RECORDS)?;
    RingReader::new(ring).map_err(|source| Error::Read { what: fit::RECORDS, source })
}

/// Loads the program that identifies the namespace of a file.
fn namespace_question(loader: &Loader) -> Result<NamespaceQuestion, Error> {
    let program = loader.load("namespace_of_file", Attachment::Raw)?;
    Ok(NamespaceQuestion::new(program.into_fd(), loader.map_fd("NAMESPACE")?))
}

/// Prints the kernel program's log, for as long as the runtime lives. aya-log finds the log by the program's number,
/// which needs `CAP_SYS_ADMIN`.
fn forward_log(program: &loader::Program) {
    let log = ProgramStats::read(program.fd())
        .map_err(anyhow::Error::from)
        .and_then(|stats| Ok(EbpfLogger::init_from_id(stats.id)?))
        .and_then(|log| Ok(sys::watch(log)?));
    let mut log = match log {
        Ok(log) => log,
        Err(error) => return tracing::warn!("cannot read the kernel program's log: {error:#}"),
    };
    tokio::spawn(async move {
        while let Ok(mut guard) = log.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
}
