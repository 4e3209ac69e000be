//! Starts a session with the first available backend, and warns of the better ones that are not available.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::beside::Beside;
use super::fallback::{CaptureBackend, NoneAvailable, UnavailableBackend, UnavailableBackends};
use super::retransmits::Retransmits;
use super::running::{Both, Ebpf, NetDm, Running};
use super::{Session, clock_ticks, host};
use crate::backend::Selection;
use crate::backend::counters::beside::{Pace, Which};
use crate::backend::ebpf::{self, EbpfSource, EventOptions, NamespaceQuestion};
use crate::backend::net_dm::{self, AlertMode, NetDmSource};
use crate::domain::unavailable::Unavailable;
use crate::filter::Filter;
use crate::filter::question::Question;
use crate::identity::netns::{self, Names, Watcher};
use crate::identity::owners::{Owners, Search};
use crate::kernel::clock::Clock;
use crate::kernel::privileges;
use crate::kernel::running::RunningKernel;
use crate::kernel::support::{Facts, Lockdown};
use crate::netlink;
use crate::netlink::absence::{self, Surroundings};
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::union::{Union, UnionOptions};

/// Options of a session.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "options that do not depend on one another")]
pub struct Options {
    /// What was read of the kernel before the run.
    pub kernel: Arc<RunningKernel>,
    /// The backends that may be used, best first.
    pub backends: Vec<CaptureBackend>,
    /// Options of single drops; absent for totals only.
    pub events: Option<EventOptions>,
    /// Whether a backend without single drops may run as well, where there are options of single drops.
    pub need: EventNeed,
    /// Count only this network namespace; absent for all namespaces.
    pub netns: Option<Arc<netns::Target>>,
    /// Count only this interface; 0 for all.
    pub ifindex: u32,
    /// Count only the drops that match; absent for all.
    pub filter: Option<Arc<Filter>>,
    /// Number of aggregation keys in the kernel, for the time between two readings.
    pub map_entries: u32,
    /// Rows that are kept in this process's memory.
    pub max_rows: usize,
    /// What to find out about whose packets they were.
    pub owners: WantedOwners,
    /// Count by these facts of packets' flows, too: bits of [`tracer_common::Config::flows`].
    pub flows: u32,
    /// Report retransmissions of TCP, and join them with drops; only for the BPF program.
    pub retransmits: bool,
    /// Read the kernel's counters beside the backend, at this pace; absent to leave them out.
    pub counters: Option<Pace>,
    /// Pass the records of the BPF program on as they came, in blocks, if it is the only backend.
    pub blocks: bool,
    /// Read those counters as well that cannot be compared with drops.
    pub all_counters: bool,
    /// Let the kernel program log.
    pub kernel_log: bool,
    /// Where two sources report single drops: time that a drop waits for the other source before it is shown; absent to
    /// show each source's reports by themselves.
    pub join: Option<Duration>,
}

/// Whether single drops are needed where there are options of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventNeed {
    /// Only backends with single drops may run.
    #[default]
    Required,
    /// Backends with totals only may run as well.
    Welcome,
}

/// What to find out about whose packets were dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedOwners {
    /// The control groups of sockets.
    pub cgroups: bool,
    /// The processes of sockets: of single drops', and of flows'.
    pub processes: Option<Search>,
    /// The container or pod that lives in the namespace of drops without a socket.
    pub residents: bool,
}

impl Session {
    /// Starts the first available backend, drops the capabilities that are no longer needed, and warns of the backends
    /// above it with their causes. The caller must be within a tokio runtime.
    pub async fn start(options: &Options) -> Result<Self> {
        let facts = Facts::read();
        let mut unavailable = UnavailableBackends::default();
        for backend in options.backends.iter().copied() {
            match run(backend, options, &facts).await {
                Ok(running) => {
                    let mut session = Self::of(backend, running, options);
                    if let Some(beside) = &session.beside {
                        beside.first_reading().await;
                    }
                    warn_of(&unavailable, backend);
                    session.unavailable = unavailable;
                    return Ok(session);
                }
                Err(why) => unavailable.0.push(UnavailableBackend { backend, why }),
            }
        }
        Err(NoneAvailable(unavailable).into())
    }

    fn of(backend: CaptureBackend, mut running: Running, options: &Options) -> Self {
        let residents = options.owners.residents && running.ebpf().is_some();
        let owners = (options.owners.cgroups || options.owners.processes.is_some() || residents).then(Owners::new);
        let owners = owners.map(|owners| owners.naming(residents, options.owners.processes));
        let now = || (Clock::now(), Instant::now());
        let (started_at, started) = running.ebpf().map_or_else(now, |ebpf| ebpf.source.attached_at());
        let counts_drops = !matches!(backend, CaptureBackend::Totals(_));
        let beside = options.counters.filter(|_| counts_drops).and_then(|pace| beside(options, pace));
        let (has_ebpf, has_owners) = (running.ebpf().is_some(), owners.is_some());
        let needed = privileges::needed([
            (has_ebpf, privileges::EBPF),
            (running.net_dm().is_some(), privileges::NET_DM),
            (has_ebpf && has_owners, privileges::OWNERS),
            (has_ebpf && (residents || options.owners.processes.is_some()), privileges::PROCESSES),
        ]);
        if let Err(error) = privileges::drop_unneeded(needed) {
            tracing::warn!("cannot drop rights that are needed no more: {error}");
        }
        let retransmits = running.parts().ebpf.and_then(|ebpf| ebpf.segments.take()).map(Retransmits::new);
        let reasons = options.kernel.reasons();
        let names = Arc::new(Names::new());
        let question =
            running.ebpf().filter(|ebpf| ebpf.source.has_cookies()).map(|ebpf| ebpf.source.namespace_question());
        let namespaces = question.as_ref().and_then(|question| watch(&names, Arc::clone(question)));
        Self {
            backend,
            unavailable: UnavailableBackends::default(),
            running,
            attribution: options.owners.cgroups,
            names_processes: options.owners.processes.is_some(),
            read_at: <[_; 2]>::default(),
            has_failed: false,
            normaliser: Normaliser::new(reasons, names, question, owners),
            beside,
            retransmits,
            _namespaces: namespaces,
            host: host(),
            started_at,
            started,
            duration: None,
            clock: clock_ticks(),
        }
    }
}

fn beside(options: &Options, pace: Pace) -> Option<Beside> {
    let only = options.netns.as_ref().map(|netns| netns.inum);
    let which = if options.all_counters { Which::All } else { Which::Compared };
    Beside::start(which, only, pace, options.ifindex != 0 || options.filter.is_some())
}

/// Learns the names of namespaces while they exist. Called when capabilities are given up: the thread has those of its
/// maker.
fn watch(names: &Arc<Names>, question: Arc<NamespaceQuestion>) -> Option<Watcher> {
    let watcher = Watcher::start(Arc::clone(names), question);
    watcher.inspect_err(|error| tracing::warn!("network namespaces are shown without names: {error}")).ok()
}

fn warn_of(unavailable: &UnavailableBackends, taken: CaptureBackend) {
    if !unavailable.0.is_empty() {
        tracing::warn!("{unavailable}");
        tracing::warn!("droptrace uses {taken} instead, which loses {}", taken.loses());
    }
}

async fn run(backend: CaptureBackend, options: &Options, facts: &Facts) -> Result<Running, Unavailable> {
    let needs_events = options.events.is_some() && options.need == EventNeed::Required;
    if needs_events && !backend.reports_single_drops() {
        let cause = "this backend reports counts only, and no single drops";
        return Err(Unavailable::new(cause, "use `droptrace stat`, which shows counts"));
    }
    Ok(match backend {
        CaptureBackend::Ebpf(mode) => {
            let mut ebpf = start_ebpf(mode, options, facts)?;
            ebpf.block = options.blocks.then(Box::default);
            Running::Ebpf(Box::new(ebpf))
        }
        CaptureBackend::NetDm(mode) => Running::NetDm(Box::new(start_net_dm(mode, options).await?)),
        CaptureBackend::Totals(backend) => Running::Totals((backend.start)(selection(options))?),
        CaptureBackend::Both(mode, alerts) => Running::Both(Box::new(start_both(mode, alerts, options, facts).await?)),
    })
}

fn selection(options: &Options) -> Selection {
    let netns = options.netns.as_ref().map(|netns| netns.inum);
    Selection { netns, ifindex: options.ifindex, has_filter: options.filter.is_some() }
}

async fn start_both(
    mode: ebpf::Mode,
    alerts: AlertMode,
    options: &Options,
    facts: &Facts,
) -> Result<Both, Unavailable> {
    if options.netns.is_some() || options.ifindex != 0 {
        return Err(Unavailable::new(
            "--netns, --interface: the drop monitor knows no namespaces, and means by an interface where a packet came in",
            "use --source ebpf, which can filter",
        ));
    }
    if let Some(filter) = &options.filter {
        check_filter_of_both(filter)?;
        check_net_dm_filter(filter, alerts)?;
    }
    let mut ebpf = start_ebpf(mode, options, facts)?;
    // The drop monitor starts after the kernel program, and stops before it or after a last reading, so it reports no
    // more than the kernel program.
    let net_dm = start_net_dm(alerts, options).await?;
    let opening = ebpf.source.totals().map_err(|error| error.explained(facts))?.clone();
    let union = union(&ebpf, options);
    Ok(Both { ebpf, net_dm, union, opening, closing: None })
}

/// The join of single drops, where they are reported and the options ask for it.
fn union(ebpf: &Ebpf, options: &Options) -> Option<Union> {
    let (events, wait) = (options.events.as_ref()?, options.join?);
    Some(Union::new(UnionOptions { captured: ebpf.captured, kept: events.snaplen as usize, wait }))
}

fn start_ebpf(mode: ebpf::Mode, options: &Options, facts: &Facts) -> Result<Ebpf, Unavailable> {
    if let Some(obstacle) = facts.obstacles().first() {
        return Err(obstacle.into());
    }
    let kernel = &options.kernel;
    let btf = kernel.btf().map_err(Unavailable::because)?;
    let may_probe = facts.lockdown != Lockdown::Confidentiality;
    let Options { map_entries, ifindex, max_rows, kernel_log, flows, retransmits, .. } = *options;
    let WantedOwners { cgroups, .. } = options.owners;
    let (events, netns) = (options.events.clone(), options.netns.clone());
    let split = options.filter.as_ref().map(|filter| filter.split()).transpose().map_err(Unavailable::because)?;
    // Conditions on processes are for the consumer of single drops.
    let filter = split.and_then(|split| split.counted).map(Arc::new);
    let wants_bytes = events.as_ref().is_some_and(|events| events.snaplen > 0);
    let options = ebpf::Options {
        mode,
        map_entries,
        events,
        netns,
        ifindex,
        max_rows,
        filter,
        cgroups,
        flows,
        retransmits,
        kernel_log,
        may_probe,
    };
    let (source, readers) =
        EbpfSource::start(&options, btf, kernel.functions()).map_err(|error| error.explained(facts))?;
    let ebpf = Ebpf::new(source, readers);
    if wants_bytes && ebpf.captured == 0 {
        tracing::warn!(
            "the kernel is locked down (confidentiality): packets are shown without their addresses and ports"
        );
    }
    Ok(ebpf)
}

async fn start_net_dm(mode: AlertMode, options: &Options) -> Result<NetDm, Unavailable> {
    if options.netns.is_some() {
        let cause = "--netns: the drop monitor does not report network namespaces";
        return Err(Unavailable::new(cause, "use --source ebpf, which does"));
    }
    if options.ifindex != 0 && mode == AlertMode::Summary {
        let cause = "--interface: the drop monitor does not report interfaces in summary mode";
        return Err(Unavailable::new(cause, "use --net-dm-mode packet, which does"));
    }
    if let Some(filter) = &options.filter {
        check_net_dm_filter(filter, mode)?;
    }
    let source = NetDmSource::start(&net_dm::Options {
        mode,
        // 0 would ask for whole packets.
        snaplen: options.events.as_ref().map_or(1, |events| events.snaplen.max(1)),
        places: usize::try_from(options.map_entries).unwrap_or(usize::MAX),
        ifindex: options.ifindex,
        filter: options.filter.clone(),
        ..net_dm::Options::default()
    })
    .await
    .map_err(|error| explained(&error))?;
    let needs_packets = options.events.is_some() && options.need == EventNeed::Required || options.filter.is_some();
    if needs_packets && source.mode() == AlertMode::Summary {
        let (found, wanted) = (AlertMode::Summary.name(), AlertMode::Packet.name());
        return Err(explained(&net_dm::Error::OthersMode { found, wanted }));
    }
    Ok(NetDm::new(source))
}

/// Fails if the drop monitor cannot answer what the filter asks.
fn check_net_dm_filter(filter: &Filter, mode: AlertMode) -> Result<(), Unavailable> {
    if mode == AlertMode::Summary {
        let cause = "filters: in summary mode the drop monitor reports neither packets nor drop reasons";
        return Err(Unavailable::new(cause, "use --net-dm-mode packet, which does"));
    }
    match net_dm::unanswered(filter) {
        Some("iface NAME") => Err(Unavailable::new(
            "filters: the drop monitor reports interfaces by their index",
            "write `iface INDEX`, or use --interface NAME",
        )),
        Some(word) => Err(Unavailable::because(format!("filters: the drop monitor cannot answer `{word}`"))),
        None => Ok(()),
    }
}

/// Fails if the backends may answer a question of the filter in different ways, so that they would count different drops.
fn check_filter_of_both(filter: &Filter) -> Result<(), Unavailable> {
    let cause = if filter.asks_tag() {
        "the drop monitor does not report the VLAN tags that the kernel removed"
    } else {
        let differs = |question: &Question| match question {
            Question::Interface(_) => Some("by an interface, the drop monitor means where a packet came in"),
            Question::Reason(_) | Question::Usual => {
                Some("the drop monitor does not report the drop reasons of most subsystems")
            }
            _ => None,
        };
        let Some(cause) = filter.questions.iter().find_map(differs) else { return Ok(()) };
        cause
    };
    Err(Unavailable::new(
        format!("filters: {cause}, so that the backends would count different drops"),
        "filter by packets and `site`; `droptrace replay` filters a recording of both by all words",
    ))
}

/// The cause and the remedy; if the kernel has no drop monitor, why.
pub(crate) fn explained(error: &net_dm::Error) -> Unavailable {
    match error {
        net_dm::Error::Netlink(netlink::Error::NoFamily { name }) => {
            absence::explain(name, &Surroundings::look(name, &host().kernel))
        }
        error => Unavailable { remedy: error.remedy().map(Into::into), ..Unavailable::of(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_of_both_asks_only_what_both_answer_alike() {
        let refused = |text: &str| check_filter_of_both(&Filter::parse(text).unwrap()).err().map(|why| why.cause);
        for text in ["udp port 53", "not site nf_*", "ether host 02:00:00:00:00:01 and len > 100", "tcp[tcpflags] != 0"]
        {
            assert_eq!(refused(text), None, "{text}");
        }
        for (text, cause) in [
            ("udp and iface 2", "where a packet came in"),
            ("vlan 7", "VLAN tags"),
            ("not reason NO_SOCKET", "drop reasons"),
            ("unusual", "drop reasons"),
        ] {
            assert!(refused(text).unwrap().contains(cause), "{text}");
        }
    }
}
