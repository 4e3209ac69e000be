//! The eBPF source: the kernel program on `kfree_skb`, its counts and its records.

mod error;
mod feature;
mod generations;
mod identify;
mod load;
mod object;
mod record;
mod ring;
mod sys;
mod totals;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use aya::Ebpf;
use aya::programs::ProgramError;
use aya_log::EbpfLogger;
use tracer_common::{ABSENT, Config, TrapNames};

pub use error::Error;
pub use load::{ProgramStats, page_size};
pub use record::{Record, interface_name, text};
pub use ring::{Drained, RingReader};
pub use totals::{Count, Totals};

use crate::kernel::btf::KernelBtf;
use crate::kernel::netns::{BySocket, Identify, Target};
use crate::ledger::{EbpfLedger, EventLedger, Ledger};
use crate::report::SourceReport;
use feature::Features;
use generations::Generations;
pub use identify::NamespaceQuestion;
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

/// Tells the exact reason of what queueing disciplines drop.
const QDISC_DROP: &str = "qdisc_drop";
/// Tells what devices drop.
const TRAP_REPORT: &str = "devlink_trap_report";

/// The running source.
pub struct EbpfSource {
    ebpf: Ebpf,
    mode: Mode,
    program: OwnedFd,
    /// The programs on [`QDISC_DROP`] and [`TRAP_REPORT`], where they are attached.
    qdisc: Option<OwnedFd>,
    hardware: Option<OwnedFd>,
    generations: Generations,
    totals: Totals,
    is_detached: bool,
    has_events: bool,
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
        let tick_ns = load::tick_ns()?;
        let config = load::config(options, btf, &features, tick_ns)?;
        let mut ebpf = load::load_object(options, &config, &features)?;
        if options.kernel_log
            && let Some(log) = load::take_log(&mut ebpf)
        {
            forward_log(log);
        }
        let ring = match &options.events {
            Some(_) => Some(
                RingReader::new(load::take_ring(&mut ebpf)?)
                    .map_err(|source| Error::Read { what: "RECORDS", source })?,
            ),
            None => None,
        };
        let question = load::namespace_question(&mut ebpf)?;
        let own = ask_own(&question)?;
        let clock = Ticks { jiffies: own.ticks, ns: own.now_ns, tick_ns };
        let cpus = aya::util::nr_cpus().map_err(|(what, source)| Error::Read { what, source })?;
        let generations = Generations::open(|name| load::map_fd(&ebpf, name), cpus, clock, options.max_rows)?;
        let has_cookies = config.offsets.net_cookie != ABSENT;
        let wanted = options.netns.as_ref().map_or(Ok(0), |wanted| cookie_of(wanted, &question, has_cookies))?;
        generations
            .set_namespaces(own.ops, wanted)
            .map_err(|source| Error::Read { what: "the kernel program's state", source })?;
        let mode = options.mode;
        load::attach(&mut ebpf, mode)?;
        let program = load::program_fd(&ebpf, mode)?;
        // Behind the other one, so that it finds nobody's notes but takes all.
        let has_qdisc = config.qdisc_reason != 0 && mode != Mode::Nothing;
        let qdisc = if has_qdisc { attach_extra(&mut ebpf, QDISC_DROP, "exact reasons of qdiscs") } else { None };
        let has_traps = sees_traps(options, btf, &config);
        let hardware = if has_traps { attach_extra(&mut ebpf, TRAP_REPORT, "hardware drops") } else { None };
        let source = Self {
            ebpf,
            mode,
            program,
            qdisc,
            hardware,
            generations,
            totals: Totals::default(),
            is_detached: false,
            has_events: ring.is_some(),
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
        if !self.is_detached {
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
            hits: counters.hits,
            accounted: self.totals.accounted(),
            overflow: counters.overflow,
            filtered: counters.filtered,
            unknown_netns: counters.unknown_netns,
            nested: self.totals.nested,
            missed: self.missed(),
            qdisc_untaken: self.qdisc.as_ref().map(|_| self.totals.qdisc_unmatched),
            events: self.has_events.then_some(EventLedger {
                offered: counters.offered,
                submitted: counters.submitted,
                suppressed: counters.suppressed,
                ring_full: counters.ring_full,
                delivered: drained.delivered,
                undecodable: drained.undecodable,
                unreadable: counters.unreadable,
            }),
        }
    }

    /// The account with the source's name, for sinks, as of the last reading of the totals.
    pub fn report(&self, drained: Drained) -> SourceReport {
        SourceReport { mode: self.mode.name(), ledger: Ledger::Ebpf(self.ledger(drained)) }
    }

    /// Drops that the kernel did not show to the programs that count them, because the same program was running already on
    /// that CPU. Kernels before 6.1 always show them, and the ones that count report 0 or nothing
    /// (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`).
    fn missed(&self) -> u64 {
        let programs = [Some(&self.program), self.hardware.as_ref()].into_iter().flatten();
        programs.filter_map(|program| ProgramStats::read(program).ok()?.recursion_misses).sum()
    }

    /// What the kernel knows of the program on `kfree_skb`.
    pub fn program_stats(&self) -> io::Result<ProgramStats> {
        ProgramStats::read(&self.program)
    }

    /// Detaches the programs, waits for their last runs, and reads what they counted: that is final.
    pub fn detach(&mut self) -> Result<(), Error> {
        if self.is_detached {
            return Ok(());
        }
        // The one that takes the other's notes is the last.
        for (name, _) in
            [(QDISC_DROP, &self.qdisc), (TRAP_REPORT, &self.hardware)].iter().filter(|(_, fd)| fd.is_some())
        {
            load::detach_extra(&mut self.ebpf, name)
                .map_err(|source| Error::Detach { what: name, source: Box::new(source) })?;
        }
        load::detach(&mut self.ebpf, self.mode)?;
        self.is_detached = true;
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

/// Whether what devices drop can be seen here: their traps' names are read by the helper.
fn sees_traps(options: &Options, btf: &KernelBtf, config: &Config) -> bool {
    let has_traps = btf.tells_hardware_drops() && config.offsets.trap_name != ABSENT && options.mode != Mode::Nothing;
    if has_traps && !options.may_probe {
        tracing::warn!("the kernel is locked down (confidentiality): what network devices drop is not counted");
    }
    has_traps && options.may_probe
}

/// Attaches a program that the account can do without.
fn attach_extra(ebpf: &mut Ebpf, name: &'static str, what: &str) -> Option<OwnedFd> {
    load::attach_extra(ebpf, name)
        .inspect_err(|error| {
            tracing::warn!("{what} are not reported: cannot attach to the tracepoint {name}: {error}");
            if let ProgramError::LoadError { verifier_log, .. } = error {
                tracing::debug!("verifier log of {name}:\n{verifier_log}");
            }
        })
        .ok()
}

/// Prints what the kernel program logs, for as long as the runtime lives.
fn forward_log(log: EbpfLogger<&'static dyn log::Log>) {
    let Ok(mut log) = sys::watch(log) else { return };
    tokio::spawn(async move {
        while let Ok(mut guard) = log.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
}
