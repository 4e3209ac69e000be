//! The eBPF source: the kernel program on `kfree_skb`, its counts and its records.

mod load;
mod record;
mod ring;
mod sys;
mod totals;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::{Ebpf, EbpfError};
use aya_log::EbpfLogger;
use thiserror::Error;
use tracer_common::{InterfaceKey, InterfaceName};
use zerocopy::IntoBytes;

pub use load::{ProgramStats, page_size};
pub use record::{Record, interface_name};
pub use ring::{Drained, RingReader};
pub use totals::{Count, Totals};

use crate::kernel::btf::{BtfError, KernelBtf};
use crate::kernel::support::Facts;
use crate::ledger::{EbpfLedger, EventLedger, Ledger};
use crate::report::SourceReport;
use sys::MapReader;
use totals::TotalsReader;

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
    /// Count only this network namespace (inode number); 0 for all.
    pub netns: u32,
    /// Count only this interface; 0 for all.
    pub ifindex: u32,
    /// Let the kernel program log.
    pub kernel_log: bool,
    /// The kernel lets programs read its memory by address. Else records have no bytes, and an interface that a packet
    /// has left is told by its index.
    pub by_address: bool,
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

/// Why the source cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel's types could not be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// As [`Error::Btf`], when attaching.
    #[error("cannot read the kernel's types from /sys/kernel/btf/vmlinux")]
    AyaBtf {
        /// What aya says.
        source: Box<aya::BtfError>,
    },
    /// The maps could not be created.
    #[error("cannot create the kernel program's maps")]
    Load {
        /// What aya says.
        source: Box<EbpfError>,
    },
    /// The verifier or a check of rights refused the program.
    #[error("the kernel refused the program for {} (its verifier's log is shown with -vv)", .mode.name())]
    Refused {
        /// Which program.
        mode: Mode,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The program was taken but could not be attached.
    #[error("cannot attach to the tracepoint kfree_skb as {}", .mode.name())]
    Attach {
        /// Which program.
        mode: Mode,
        /// What aya says.
        source: Box<aya::programs::ProgramError>,
    },
    /// The built object lacks a part; it does not fit this binary.
    #[error("the kernel program's object has no {what}")]
    Missing {
        /// Name of the map or program.
        what: &'static str,
    },
    /// A map is not what it should be.
    #[error("cannot open the map {what}")]
    Map {
        /// Name of the map.
        what: &'static str,
        /// What aya says.
        source: Box<aya::maps::MapError>,
    },
    /// Something that was loaded could not be read.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// The number of the error that the kernel answered with, if it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
                return Some(errno);
            }
            cause = error.source();
        }
        None
    }

    /// What went wrong, and what can be done about it where that is known.
    pub fn explained(self, facts: &Facts) -> anyhow::Error {
        let obstacles = facts.explain_refusal(self.errno());
        let error = anyhow::Error::from(self);
        if obstacles.is_empty() {
            return error;
        }
        let advice: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{error:#}\n{}", advice.join("\n"))
    }
}

/// The running source.
pub struct EbpfSource {
    ebpf: Ebpf,
    mode: Mode,
    program: OwnedFd,
    totals: TotalsReader,
    interfaces: MapReader,
    has_events: bool,
}

impl EbpfSource {
    /// Loads and attaches: drops are counted from here on. Records, when asked for, come by the reader.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(options: &Options, btf: &KernelBtf) -> Result<(Self, Option<RingReader>), Error> {
        let tick_ns = load::tick_ns()?;
        let config = load::config(options, btf, tick_ns)?;
        let mut ebpf = load::load_object(options, &config)?;
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
        let cpus = aya::util::nr_cpus().map_err(|(what, source)| Error::Read { what, source })?;
        let fd = |name| load::map_fd(&ebpf, name);
        let totals = TotalsReader::new(fd("CPU_STATE")?, fd("DROPS")?, fd("OVERFLOW")?, cpus, tick_ns);
        let interfaces = MapReader::new(fd("INTERFACES")?, size_of::<InterfaceKey>(), size_of::<InterfaceName>());
        let mode = options.mode;
        load::attach(&mut ebpf, mode)?;
        let program = load::program_fd(&ebpf, mode)?;
        Ok((Self { ebpf, mode, program, totals, interfaces, has_events: ring.is_some() }, ring))
    }

    /// How the program is attached.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What was counted so far.
    pub fn totals(&self) -> Result<Totals, Error> {
        self.totals.read().map_err(|source| Error::Read { what: "the kernel program's counts", source })
    }

    /// The name that an interface had at its first drop.
    pub fn interface_name(&self, netns: u32, ifindex: u32) -> Option<String> {
        let mut name = InterfaceName::default();
        let found = self.interfaces.lookup(InterfaceKey { netns, ifindex }.as_bytes(), &mut name);
        found.is_ok_and(|found| found).then(|| interface_name(&name).map(str::to_owned)).flatten()
    }

    /// The account, given what was read of it.
    pub fn ledger(&self, totals: &Totals, drained: Drained) -> EbpfLedger {
        let counters = &totals.counters;
        EbpfLedger {
            hits: counters.hits,
            accounted: totals.accounted(),
            overflow: counters.overflow,
            filtered: counters.filtered,
            missed: self.program_stats().ok().and_then(|stats| stats.recursion_misses),
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

    /// The account with the source's name, for sinks.
    pub fn report(&self, totals: &Totals, drained: Drained) -> SourceReport {
        let ledger = Ledger::Ebpf(self.ledger(totals, drained));
        SourceReport { mode: self.mode.name(), ledger }
    }

    /// What the kernel knows of the program.
    pub fn program_stats(&self) -> io::Result<ProgramStats> {
        ProgramStats::read(&self.program)
    }

    /// Detaches the program and waits for its last runs: what is read afterwards is final.
    pub fn detach(&mut self) -> Result<(), Error> {
        load::detach(&mut self.ebpf, self.mode)?;
        if let Err(error) = sys::wait_for_running_programs() {
            // A seccomp filter, or nohz_full CPUs. A run takes microseconds.
            tracing::debug!("membarrier: {error}; waiting instead");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
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
