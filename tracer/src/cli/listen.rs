//! Derives a session from the command line: the backends that may run, and the drops that they select.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::args::{CommonArgs, Mode as ModeArg, Source};
use crate::backend::counters::beside::Pace;
use crate::backend::ebpf::{EventOptions, Mode};
use crate::backend::net_dm::AlertMode;
use crate::identity::{interfaces, netns};
use crate::kernel::running::RunningKernel;
use crate::pipeline::dedupe::DedupeLimits;
use crate::run::{CaptureBackend, EventNeed, Options, WantedOwners};

/// The options in the form of sessions. Namespaces and interfaces are looked up. `kernel` has what was read of the kernel
/// so far.
pub(super) fn options(args: &CommonArgs, events: Option<EventOptions>, kernel: &Arc<RunningKernel>) -> Result<Options> {
    let Target { netns, ifindex } = resolve(args)?;
    let (map_entries, kernel_log) = (args.map_entries, args.verbose >= 2);
    let join = Some(DedupeLimits::default().wait);
    let max_rows = usize::try_from(args.max_rows)?;
    let (backends, owners, flows, counters) =
        (backends(args), WantedOwners::default(), 0, (!args.no_counters).then(Pace::default));
    let filter = args.filter.clone().map(Arc::new);
    Ok(Options {
        kernel: Arc::clone(kernel),
        backends,
        events,
        netns,
        ifindex,
        filter,
        map_entries,
        max_rows,
        owners,
        flows,
        counters,
        need: EventNeed::Required,
        retransmits: false,
        refused: false,
        blocks: false,
        all_counters: false,
        kernel_log,
        join,
    })
}

/// The name of the backend for messages.
pub(super) fn title(backend: CaptureBackend) -> String {
    match backend {
        CaptureBackend::Ebpf(mode) => mode.name().to_owned(),
        CaptureBackend::Both(..) => backend.mode().to_owned(),
        backend => format!("{}, {}", backend.source(), backend.mode()),
    }
}

/// The backends that may run. An attach mode or alert mode on the command line selects its backend, too.
fn backends(args: &CommonArgs) -> Vec<CaptureBackend> {
    let mode = match args.mode {
        ModeArg::Auto => None,
        ModeArg::TpBtf => Some(Mode::TpBtf),
        ModeArg::RawTracepoint => Some(Mode::RawTracepoint),
    };
    let alerts = args.net_dm_mode.map(AlertMode::from);
    let source = match args.source {
        Source::Auto if mode.is_some() => Source::Ebpf,
        Source::Auto if alerts.is_some() => Source::NetDm,
        source => source,
    };
    if source == Source::Both {
        return both(mode, alerts);
    }
    let allows = |each| source == Source::Auto || source == each;
    let is_wanted = |backend: &CaptureBackend| match *backend {
        CaptureBackend::Ebpf(each) => allows(Source::Ebpf) && mode.is_none_or(|mode| mode == each),
        CaptureBackend::NetDm(each) => allows(Source::NetDm) && alerts.is_none_or(|alerts| alerts == each),
        plain => allows(Source::Plain(plain)),
    };
    CaptureBackend::FALLBACK_ORDER.into_iter().filter(is_wanted).collect()
}

/// Both backends. The drop monitor runs in packet mode unless the command line selects summary mode.
fn both(mode: Option<Mode>, alerts: Option<AlertMode>) -> Vec<CaptureBackend> {
    let modes = mode.map_or(vec![Mode::TpBtf, Mode::RawTracepoint], |mode| vec![mode]);
    modes.into_iter().map(|mode| CaptureBackend::Both(mode, alerts.unwrap_or(AlertMode::Packet))).collect()
}

/// The interface and namespace that the kernel program filters by.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// `None` for all.
    pub(super) netns: Option<Arc<netns::Target>>,
    /// 0 for all.
    pub(super) ifindex: u32,
}

/// Resolves the options. An interface name belongs to a namespace, which is this process's own unless the command line
/// selects one.
pub(super) fn resolve(args: &CommonArgs) -> Result<Target> {
    let wanted = args.netns.as_deref().map(netns::parse_target).transpose().context("--netns")?;
    match args.interface.as_deref() {
        None => Ok(Target { netns: wanted.map(Arc::new), ifindex: 0 }),
        Some(name) => interface(wanted, name),
    }
}

fn interface(wanted: Option<netns::Target>, name: &str) -> Result<Target> {
    let own = || netns::Target::own().context("cannot read this process's network namespace");
    let within = wanted.map_or_else(own, Ok)?;
    let ifindex = within.namespace().and_then(|namespace| index(namespace, name));
    let ifindex = ifindex.map_err(explain).with_context(|| format!("--interface {name}"))?;
    Ok(Target { netns: Some(Arc::new(within)), ifindex })
}

/// The index of an interface, by its name or its index.
fn index(namespace: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    interfaces::index(namespace, name).or_else(|error| match name.parse() {
        Ok(index) => interfaces::name_in(namespace, index).map(|_| index),
        Err(_) => Err(error),
    })
}

fn explain(error: io::Error) -> anyhow::Error {
    if error.raw_os_error() == Some(libc::ENODEV) {
        anyhow::anyhow!("no such interface in this network namespace (`ip link` lists them; --netns chooses another)")
    } else {
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::backend::TOTALS_BACKENDS;
    use crate::cli::args::{Cli, Command};

    fn typed(line: &str) -> Vec<CaptureBackend> {
        let Command::Stat(args) = Cli::try_parse_from(line.split(' ')).unwrap().into_command() else {
            panic!("{line}: not stat")
        };
        backends(&args.stat.common)
    }

    #[test]
    fn options_limit_the_fallback_order() {
        assert_eq!(typed("droptrace"), CaptureBackend::FALLBACK_ORDER);
        assert_eq!(typed("droptrace --source ebpf"), CaptureBackend::FALLBACK_ORDER[..2]);
        assert_eq!(typed("droptrace --source net-dm"), CaptureBackend::FALLBACK_ORDER[2..4]);
        assert_eq!(typed("droptrace --source counters"), [CaptureBackend::Totals(TOTALS_BACKENDS[0])]);
        let both = |alerts| [Mode::TpBtf, Mode::RawTracepoint].map(|mode| CaptureBackend::Both(mode, alerts));
        assert_eq!(typed("droptrace --source both"), both(AlertMode::Packet));
        assert_eq!(typed("droptrace --source both --net-dm-mode summary"), both(AlertMode::Summary));
        assert_eq!(typed("droptrace --mode raw_tracepoint"), CaptureBackend::FALLBACK_ORDER[1..2]);
        assert_eq!(typed("droptrace --net-dm-mode summary"), CaptureBackend::FALLBACK_ORDER[3..4]);
        assert_eq!(typed("droptrace --source net-dm --net-dm-mode packet"), CaptureBackend::FALLBACK_ORDER[2..3]);
    }
}
