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
mod probe;
mod receivers;
mod record;
mod ring;
mod segments;
mod stack;
mod stats;
mod sys;
mod totals;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use aya_log::EbpfLogger;
use tracer_common::{ABSENT, Config, READ_CAST, SegmentCounts, SiteKey, TrapNames};

pub use count::Count;
pub use error::Error;
pub use filter::{FilterRefused, Unresolved};
pub use fit::{default_room, page_size};
pub use record::{Record, Report, interface_name, text};
pub use ring::{Drained, RingReader};
pub use segments::{Segment, SegmentReader};
pub use stack::functions;
pub use stats::ProgramStats;
pub use totals::Totals;

use crate::domain::event::Timestamp;
use crate::domain::ledger::{EbpfLedger, EventLedger, Ledger};
use crate::domain::report::SourceReport;
use crate::filter::Filter;
use crate::identity::netns::Target;
use crate::kernel::btf::KernelBtf;
use crate::kernel::symbols::Functions;
use feature::Features;
use filter::Resolver;
use generations::Generations;
pub use identify::NamespaceQuestion;
use loader::{Attachment, Loader};
use probe::{Programs, QDISC_DROP, TCP_RETRANSMIT_SKB};
use receivers::Receivers;
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

/// Options of the source.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "options that do not depend on one another")]
pub struct Options {
    /// The type of the attached program.
    pub mode: Mode,
    /// Number of aggregation keys in the hash; the cache of each CPU in front of the hash has as many, up to 256.
    pub map_entries: u32,
    /// Options of records; absent to count only.
    pub events: Option<EventOptions>,
    /// Count only this network namespace; absent for all namespaces.
    pub netns: Option<Arc<Target>>,
    /// Count only this interface; 0 for all.
    pub ifindex: u32,
    /// Rows that are kept in this process's memory; drops of further keys are counted by drop reason.
    pub max_rows: usize,
    /// Count only the drops that this filter selects; absent for all.
    pub filter: Option<Arc<Filter>>,
    /// Count by the control group of the packet's socket, too.
    pub cgroups: bool,
    /// Count by these facts of the packet's flow, too: bits of [`tracer_common::Config::flows`].
    pub flows: u32,
    /// Report dropped segments of TCP and retransmissions.
    pub retransmits: bool,
    /// Let the kernel program log.
    pub kernel_log: bool,
    /// The kernel lets programs call `bpf_probe_read_kernel`; false under `lockdown=confidentiality`.
    pub may_probe: bool,
}

impl Options {
    /// Totals of all drops, with room for one key: enough to find out whether the programs load. `may_probe` is as in the
    /// options.
    pub const fn least(mode: Mode, may_probe: bool) -> Self {
        Self {
            mode,
            map_entries: 1,
            events: None,
            netns: None,
            ifindex: 0,
            max_rows: 1,
            filter: None,
            cgroups: false,
            flows: 0,
            retransmits: false,
            kernel_log: false,
            may_probe,
        }
    }
}

/// Options of records.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// Leading bytes of each packet, at most [`tracer_common::MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Records a second for each drop site, drop reason and CPU; 0 for no limit.
    pub rate: u32,
    /// Bytes of the ring buffer: a power of two, and at least a page.
    pub ring_size: u32,
    /// Records have the call stack of the drop.
    pub stacks: bool,
    /// Beyond the first drops of a key, make a record of one in so many: a power of two; 1 for all drops.
    pub one_in: u32,
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
        let config = Config { udp_receivers: receivers.form, ..fit::config(options, btf, &features, tick_ns)? };
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
        };
        Ok((source, Readers { records: ring, segments: segments.map(SegmentReader::new) }))
    }

    /// The type of the attached program.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Time from which on drops are counted, in real time and as an instant.
    pub const fn attached_at(&self) -> (Timestamp, Instant) {
        self.programs.attached_at()
    }

    /// Whether namespaces are identified by cookies, which are never reused; else by inode numbers, which are.
    pub const fn has_cookies(&self) -> bool {
        self.has_cookies
    }

    /// Identifies the namespace of an open file, for as long as a caller keeps the returned value.
    pub fn namespace_question(&self) -> Arc<NamespaceQuestion> {
        Arc::clone(&self.question)
    }

    /// Number of leading bytes of packets in records.
    pub const fn captured(&self) -> u32 {
        self.captured
    }

    /// The facts of flows that are counted: bits of [`tracer_common::Config::flows`].
    pub const fn flow_facts(&self) -> u32 {
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

    /// The names of a devlink trap, by [`tracer_common::DropKey::location`].
    pub fn trap(&self, location: u64) -> Option<TrapNames> {
        self.totals.traps.get(&location).copied().or_else(|| self.generations.trap(location))
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

    /// The ledger with the source's name, for sinks, as of the last reading of the totals. The sums of held-back
    /// records have no names yet, because this source does not resolve names.
    pub fn report(&self, drained: Drained) -> SourceReport {
        SourceReport { mode: self.mode.name(), ledger: Ledger::Ebpf(self.ledger(drained)), held_back: vec![] }
    }

    /// Records that the sampler held back, by drop site, the largest number first.
    pub fn held_back(&self) -> Result<Vec<(SiteKey, u64)>, Error> {
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

    /// The kernel's statistics of the program on `kfree_skb`.
    pub fn program_stats(&self) -> io::Result<ProgramStats> {
        ProgramStats::read(self.programs.main().fd())
    }

    /// Detaches the programs, waits for their last runs, and reads their final counts.
    pub fn detach(&mut self) -> Result<(), Error> {
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
/// which takes `CAP_SYS_ADMIN`.
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
