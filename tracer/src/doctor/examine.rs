//! Examines this kernel, and tries each capture backend for a moment.

use rustix::thread::CapabilitySet;

use super::container::container;
use super::counters::counters;
use super::owners::owners;
use super::sites::sites;
use super::{CaptureBackend, Check, Diagnosis, State};
use crate::backend::ebpf::{Mode, Options};
use crate::backend::net_dm::{self, Found, NetDmSource};
use crate::domain::report::Host;
use crate::kernel::btf::{BtfError, KernelBtf, KfreeSkb, VMLINUX};
use crate::kernel::reasons::ReasonNames;
use crate::kernel::running::RunningKernel;
use crate::kernel::support::{Facts, Lockdown, Obstacle};
use crate::kernel::symbols::Symbols;
use crate::{netlink, run};

/// Examines the host. Attaches and detaches each kind of program once. Must be called within a tokio runtime.
pub(crate) async fn examine(host: Host) -> Diagnosis {
    let facts = Facts::read();
    let kernel = RunningKernel::default();
    let btf = kernel.btf();
    let monitor = NetDmSource::probe().await;
    let mut checks = vec![capabilities(&facts), bpf(&facts), types(btf)];
    if let Ok(btf) = btf {
        checks.extend([tracepoint(btf), fields(btf)]);
        checks.extend(reasons(btf));
        checks.extend(sites(btf));
    }
    checks.extend([symbols(), lockdown(facts.lockdown), drop_monitor(&monitor), devices().await]);
    checks.extend([owners(&facts, btf.ok()), counters(&facts), refused_syns(&kernel, &facts)]);
    checks.extend(container(&facts));
    let backends = run::CaptureBackend::FALLBACK_ORDER.map(|backend| CaptureBackend {
        source: backend.source(),
        mode: backend.mode(),
        unavailable: backend.try_out(&kernel, &facts, &monitor).err(),
        loses: backend.loses(),
        cannot_see: backend.cannot_see(),
    });
    Diagnosis { host, checks, backends: backends.into() }
}

fn good(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, state: State::Good, found: found.into(), advice: None }
}

fn bad(name: &'static str, state: State, found: impl Into<String>, advice: &impl ToString) -> Check {
    Check { name, state, found: found.into(), advice: Some(advice.to_string()) }
}

fn capabilities(facts: &Facts) -> Check {
    const NAME: &str = "capabilities";
    let wanted = [
        ("CAP_BPF", CapabilitySet::BPF),
        ("CAP_PERFMON", CapabilitySet::PERFMON),
        ("CAP_SYSLOG", CapabilitySet::SYSLOG),
        ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ];
    let held = wanted.into_iter().filter(|(_, capability)| facts.capabilities.contains(*capability));
    let held: Vec<_> = held.map(|(name, _)| name).collect();
    let found = if held.is_empty() { "none of those that droptrace uses".into() } else { held.join(", ") };
    let is_about_capabilities =
        |obstacle: &Obstacle| matches!(obstacle, Obstacle::Capabilities { .. } | Obstacle::UserNamespace);
    match facts.obstacles().into_iter().find(is_about_capabilities) {
        None => good(NAME, found),
        Some(obstacle) => bad(NAME, State::Missing, found, &obstacle),
    }
}

fn bpf(facts: &Facts) -> Check {
    const NAME: &str = "bpf system call";
    if facts.has_bpf { good(NAME, "there") } else { bad(NAME, State::Missing, "off", &Obstacle::NoBpf) }
}

fn types(btf: Result<&KernelBtf, &BtfError>) -> Check {
    const NAME: &str = "kernel types (BTF)";
    match btf {
        Ok(_) => good(NAME, VMLINUX),
        Err(error) => bad(NAME, State::Missing, "not available", error),
    }
}

fn tracepoint(btf: &KernelBtf) -> Check {
    const NAME: &str = "tracepoint";
    match btf.tracepoint() {
        Ok(KfreeSkb { has_reason: true, has_rx_sk }) => good(
            NAME,
            if has_rx_sk { "kfree_skb(skb, location, reason, rx_sk)" } else { "kfree_skb(skb, location, reason)" },
        ),
        Ok(_) => bad(
            NAME,
            State::Degraded,
            "kfree_skb(skb, location)",
            &"this kernel reports no reasons (5.17 and later do); drops are grouped by drop site alone",
        ),
        Err(error) => bad(NAME, State::Missing, "unknown", &error),
    }
}

fn fields(btf: &KernelBtf) -> Check {
    const NAME: &str = "fields of the kernel";
    match btf.offsets() {
        Ok(_) => good(NAME, "complete"),
        Err(error) => bad(NAME, State::Missing, "incomplete", &error),
    }
}

/// The check of the drop reasons' names; `None` if the tracepoint has no reason.
fn reasons(btf: &KernelBtf) -> Option<Check> {
    const NAME: &str = "names of reasons";
    if btf.tracepoint().is_ok_and(|tracepoint| !tracepoint.has_reason) {
        return None;
    }
    Some(match ReasonNames::load(btf).known() {
        0 => bad(NAME, State::Degraded, "none", &"reasons are shown as numbers"),
        known => good(NAME, format!("{known} of the core")),
    })
}

fn symbols() -> Check {
    const NAME: &str = "names of functions";
    let advice =
        "drop sites are shown as addresses; grant CAP_SYSLOG; where kernel.kptr_restrict is 2, set it to 1 as well";
    match Symbols::new().hidden() {
        Ok(false) => good(NAME, "/proc/kallsyms"),
        Ok(true) => bad(NAME, State::Degraded, "hidden", &advice),
        Err(error) => bad(NAME, State::Degraded, format!("/proc/kallsyms cannot be read: {error}"), &advice),
    }
}

fn lockdown(lockdown: Lockdown) -> Check {
    const NAME: &str = "lockdown";
    match lockdown {
        Lockdown::None => good(NAME, "none"),
        Lockdown::Integrity => good(NAME, "integrity, which does not limit droptrace"),
        Lockdown::Confidentiality => bad(
            NAME,
            State::Degraded,
            "confidentiality",
            &"trace shows no addresses and ports; drops are counted all the same",
        ),
    }
}

/// The check of the drop monitor, the second-best capture backend. It leaves the monitor unchanged.
fn drop_monitor(monitor: &Result<Found, net_dm::Error>) -> Check {
    const NAME: &str = "drop monitor (NET_DM)";
    match monitor {
        Ok(Found::Unused) => good(NAME, "available, and not in use"),
        Ok(Found::Left { .. }) => bad(
            NAME,
            State::Degraded,
            "a run of droptrace that was killed left it changed",
            &"`droptrace doctor --repair` restores it, as does the next run that uses it",
        ),
        Ok(Found::InUse(mode)) => bad(
            NAME,
            State::Degraded,
            format!("another process runs it in {} mode", mode.name()),
            &"droptrace would receive the same messages, and change nothing",
        ),
        Err(net_dm::Error::Netlink(netlink::Error::NoFamily { .. })) => {
            bad(NAME, State::Missing, "not registered here", &"see the backends below")
        }
        Err(error) => bad(NAME, State::Missing, "not available to this process", error),
    }
}

/// The check of devlink, whose traps report hardware drops.
async fn devices() -> Check {
    const NAME: &str = "devices with devlink";
    match net_dm::devlink_devices().await {
        Ok(0) => good(NAME, "none, so no hardware reports its drops"),
        Ok(devices) => good(NAME, format!("{devices}, whose traps report hardware drops")),
        Err(error) => bad(NAME, State::Degraded, "unknown", &error),
    }
}

/// The check of refused SYNs. Attaches the programs and detaches them.
fn refused_syns(kernel: &RunningKernel, facts: &Facts) -> Check {
    const NAME: &str = "refused SYNs";
    let options = |mode| Options { refused: true, ..run::least(mode, facts) };
    let tried = run::try_out(&options(Mode::TpBtf), kernel, facts);
    match tried.or_else(|_| run::try_out(&options(Mode::RawTracepoint), kernel, facts)) {
        Ok(None) => good(NAME, "counted by socket, cause and sender"),
        Ok(Some(why)) => {
            let advice = why.remedy.unwrap_or_else(|| "counters of the kernel show their number".into());
            bad(NAME, State::Degraded, format!("not counted: {}", why.cause), &advice)
        }
        Err(_) => bad(NAME, State::Missing, "not counted", &"see the backends below"),
    }
}
