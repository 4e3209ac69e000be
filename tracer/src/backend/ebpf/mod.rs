//! The eBPF source: the kernel program on `kfree_skb`, its counts and its records.

mod constants;
mod error;
mod feature;
mod fit;
mod generations;
mod identify;
mod loader;
mod probe;
mod record;
mod ring;
mod stats;
mod sys;
mod totals;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use aya_log::EbpfLogger;
use tracer_common::{ABSENT, SiteKey, TrapNames};

pub use error::Error;
pub use fit::{default_room, page_size};
pub use record::{Record, Report, interface_name, text};
pub use ring::{Drained, RingReader};
pub use stats::ProgramStats;
pub use totals::{Count, Totals};

use crate::domain::ledger::{EbpfLedger, EventLedger, Ledger};
use crate::domain::report::SourceReport;
use crate::identity::netns::{BySocket, Identify, Target};
use crate::kernel::btf::KernelBtf;
use feature::Features;
use generations::Generations;
pub use identify::NamespaceQuestion;
use loader::{Attachment, Loader};
use probe::{Programs, QDISC_DROP};
use totals::Ticks;

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `BPF_TRACE_RAW_TP` with typed arguments: plain loads, the cheapest.
    TpBtf,
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`: fields are read by a helper.
    RawTracepoint,
    /// As `TpBtf`, with a program that does nothing: the yardstick of measurements.
    Nothing,
}

impl Mode {
    /// The name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTracepoint => "raw_tracepoint",
            Self::Nothing => "nothing",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::TpBtf => "kfree_skb_btf",
            Self::RawTracepoint => "kfree_skb_raw",
            Self::Nothing => "kfree_skb_none",
        }
    }
}

/// What the source is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to attach.
    pub mode: Mode,
    /// Room for places in the hash; the cache of each CPU in front of it has as much, up to 256.
    pub map_entries: u32,
    /// Send records; none to count only.
    pub events: Option<EventOptions>,
    /// Count only this network namespace; none for all.
    pub netns: Option<Arc<Target>>,
    /// Count only this interface; 0 for all.
    pub ifindex: u32,
    /// Rows that are kept in this process's memory; drops of further keys are counted by reason.
    pub max_rows: usize,
    /// Let the kernel program log.
    pub kernel_log: bool,
    /// The kernel lets programs call `bpf_probe_read_kernel`; false under `lockdown=confidentiality`.
    pub may_probe: bool,
}

/// What records are to be like.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// Leading bytes of each packet, at most [`tracer_common::MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Records a second for each place, reason and CPU; 0 for no bound.
    pub rate: u32,
    /// Bytes of the ring buffer: a power of two, and at least a page.
    pub ring_size: u32,
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
    question: Arc<NamespaceQuestion>,
}

impl EbpfSource {
    /// Loads and attaches: drops are counted from here on. Records, when asked for, come by the reader.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(options: &Options, btf: &KernelBtf) -> Result<(Self, Option<RingReader>), Error> {
        let features = Features::ask(btf, options.may_probe);
        let tick_ns = fit::tick_ns()?;
        let config = fit::config(options, btf, &features, tick_ns)?;
        let mut loader = fit::loader(options, &config, &features)?;
        let ring = options.events.as_ref().map(|_| reader(&mut loader)).transpose()?;
        let question = namespace_question(&loader)?;
        let own = ask_own(&question)?;
        let clock = Ticks { jiffies: own.ticks, ns: own.now_ns, tick_ns };
        let cpus = aya::util::nr_cpus().map_err(|(what, source)| Error::Read { what, source })?;
        let generations = Generations::open(|name| loader.map_fd(name), cpus, config.tables, clock, options.max_rows)?;
        let has_cookies = config.offsets.net_cookie != ABSENT;
        let wanted = options.netns.as_ref().map_or(Ok(0), |wanted| cookie_of(wanted, &question, has_cookies))?;
        generations
            .set_namespaces(own.ops, wanted)
            .map_err(|source| Error::Read { what: "the kernel program's state", source })?;
        let mut programs = Programs::attach(&loader, options.mode, btf)?;
        if options.kernel_log {
            forward_log(programs.main());
        }
        if options.mode != Mode::Nothing {
            programs.attach_others(&loader, btf, &config);
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
            question: Arc::new(question),
        };
        Ok((source, ring))
    }

    /// How the program is attached.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether namespaces are told apart by cookies, which are never reused; else by inode numbers, which are.
    pub const fn has_cookies(&self) -> bool {
        self.has_cookies
    }

    /// Tells which namespace an open file stands for, for as long as anybody keeps it.
    pub fn namespace_question(&self) -> Arc<NamespaceQuestion> {
        Arc::clone(&self.question)
    }

    /// Leading bytes of packets that records have.
    pub const fn captured(&self) -> u32 {
        self.captured
    }

    /// All that was counted up to now. Each reading is exact: nothing is counted twice or left out while drops go on.
    /// Takes a grace period of the kernel, some milliseconds.
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

    /// The account, as of the last reading of the totals, given what was read of the records.
    pub fn ledger(&self, drained: Drained) -> EbpfLedger {
        let counters = &self.totals.counters;
        EbpfLedger {
            hits: self.totals.hits,
            accounted: self.totals.accounted(),
            overflow: counters.overflow,
            filtered: counters.filtered,
            unknown_netns: counters.unknown_netns,
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

    /// The account with the source's name, for sinks, as of the last reading of the totals. What was held back has no names
    /// yet: they are not this source's.
    pub fn report(&self, drained: Drained) -> SourceReport {
        SourceReport { mode: self.mode.name(), ledger: Ledger::Ebpf(self.ledger(drained)), held_back: vec![] }
    }

    /// Records held back by the sampler, by site, most first.
    pub fn held_back(&self) -> Result<Vec<(SiteKey, u64)>, Error> {
        if !self.has_events {
            return Ok(vec![]);
        }
        self.generations.held_back().map_err(|source| Error::Read { what: "what was held back", source })
    }

    /// Drops that the kernel did not show to the programs that count them, because the same program was running already on
    /// that CPU. Kernels before 6.1 always show them, and the ones that count report 0 or nothing
    /// (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`).
    fn missed(&self) -> u64 {
        let stats = self.programs.counting().map(|program| ProgramStats::read(program.fd()));
        stats.filter_map(|stats| stats.ok()?.recursion_misses).sum()
    }

    /// What the kernel knows of the program on `kfree_skb`.
    pub fn program_stats(&self) -> io::Result<ProgramStats> {
        ProgramStats::read(self.programs.main().fd())
    }

    /// Detaches the programs, waits for their last runs, and reads what they counted: that is final.
    pub fn detach(&mut self) -> Result<(), Error> {
        if !self.programs.detach() {
            return Ok(());
        }
        self.generations
            .read_last_into(&mut self.totals)
            .map_err(|source| Error::Read { what: "the kernel program's counts", source })
    }
}

/// What the kernel answers of this process's own namespace, and its clocks.
fn ask_own(question: &NamespaceQuestion) -> Result<tracer_common::NamespaceAnswer, Error> {
    let ask = || question.ask(File::open("/proc/self/ns/net")?.as_fd());
    ask().map_err(|source| Error::Read { what: "this process's network namespace", source })
}

/// What the kernel program compares with: the cookie, or the inode number on kernels without cookies.
fn cookie_of(wanted: &Target, question: &NamespaceQuestion, has_cookies: bool) -> Result<u64, Error> {
    if !has_cookies {
        return Ok(wanted.inum.into());
    }
    let unknown = || io::Error::other("the kernel does not give it");
    let ask = || {
        let namespace = wanted.namespace()?;
        match question.identify(namespace)?.cookie {
            Some(cookie) => Ok(cookie),
            // The program may read nothing (lockdown before 6.2): the namespace is entered to ask there.
            None => BySocket.identify(namespace)?.cookie.ok_or_else(unknown),
        }
    };
    Ok(ask().map_err(|source| Error::Read { what: "the cookie of the wanted network namespace", source })?.get())
}

/// The reading end of the ring buffer of records.
fn reader(loader: &mut Loader) -> Result<RingReader, Error> {
    let ring = loader.take_ring(fit::RECORDS)?;
    RingReader::new(ring).map_err(|source| Error::Read { what: fit::RECORDS, source })
}

/// Loads the program that says which namespace a file stands for.
fn namespace_question(loader: &Loader) -> Result<NamespaceQuestion, Error> {
    let program = loader.load("namespace_of_file", Attachment::Raw)?;
    Ok(NamespaceQuestion::new(program.into_fd(), loader.map_fd("NAMESPACE")?))
}

/// Prints what the kernel program logs, for as long as the runtime lives. aya-log finds the log by the program's number,
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
