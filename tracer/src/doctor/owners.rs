//! Checks whether dropped packets can be attributed to cgroups, containers and processes.

use std::fs;
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::sites::is_split;
use super::{Check, State};
use crate::identity::cgroup::Cgroups;
use crate::identity::proc_folder::{hides_processes, pids};
use crate::kernel::btf::{KernelBtf, UdpFailure};
use crate::kernel::support::{Facts, Lockdown};
use crate::kernel::symbols::Symbols;

/// The receiving sockets that the kernel reports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receivers {
    /// Of all drops that have one (`kfree_skb`, 6.11 and later).
    All,
    /// Of packets that a UDP socket has no room for (`udp_fail_queue_rcv_skb`).
    FullUdp,
    /// Of no drops.
    None,
}

impl Receivers {
    fn ask(facts: &Facts, btf: Option<&KernelBtf>) -> Self {
        let Some(btf) = btf else { return Self::None };
        if btf.tracepoint().is_ok_and(|tracepoint| tracepoint.has_rx_sk) {
            return Self::All;
        }
        let is_readable = || facts.lockdown != Lockdown::Confidentiality && Symbols::new().hidden().is_ok_and(|is| !is);
        match btf.udp_failure().filter(|_| !is_split(btf)) {
            Some(UdpFailure::BeforeFree) => Self::FullUdp,
            Some(UdpFailure::AfterFree) if is_readable() => Self::FullUdp,
            _ => Self::None,
        }
    }
}

/// The conditions of attribution.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
struct Conditions {
    /// The mount point of cgroup2; absent if there is none.
    mount: Option<String>,
    /// Why some cgroups have no path here.
    limits: Option<String>,
    /// A hierarchy of cgroup v1 is mounted.
    has_v1: bool,
    /// The BPF program, which alone reports owners, can be loaded as far as is known.
    has_bpf: bool,
    /// The receiving sockets that the kernel reports.
    receivers: Receivers,
    /// The process has `CAP_DAC_READ_SEARCH`.
    opens_by_id: bool,
    /// The process has the capabilities that opening `/proc/PID/fd` of other users' processes takes, by which sockets are
    /// found (`proc_fd_permission`, `fs/proc/fd.c`; `proc_fd_access_allowed`, `fs/proc/base.c`).
    reads_descriptors: bool,
    /// `/proc` hides the processes of other users.
    hides_processes: bool,
}

/// The check of owners.
pub(super) fn owners(facts: &Facts, btf: Option<&KernelBtf>) -> Check {
    let cgroups = Cgroups::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Conditions {
        mount: cgroups.mount().ok().map(|mount| mount.display().to_string()),
        limits: cgroups.limits(),
        has_v1: mounts.lines().any(|mount| mount.contains(" - cgroup ")),
        has_bpf: facts.obstacles().is_empty(),
        receivers: Receivers::ask(facts, btf),
        opens_by_id: facts.capabilities.contains(CapabilitySet::DAC_READ_SEARCH),
        reads_descriptors: facts.capabilities.contains(CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_PTRACE),
        hides_processes: hides_processes(&pids(Path::new("/proc"))),
    }
    .check()
}

impl Conditions {
    fn check(&self) -> Check {
        let advice = self.advice();
        let state = if advice.is_empty() { State::Good } else { State::Degraded };
        let advice = (!advice.is_empty()).then(|| advice.join("\n"));
        Check { name: "owners of packets", state, found: self.found(), advice }
    }

    fn found(&self) -> String {
        let hybrid = if self.has_v1 { ", beside cgroup v1" } else { "" };
        let who = match self.receivers {
            Receivers::All => "senders and receivers",
            Receivers::FullUdp => "senders, and receivers whose UDP buffer is full",
            Receivers::None => "senders only",
        };
        match &self.mount {
            _ if !self.has_bpf => "unknown without the BPF program".into(),
            Some(mount) => format!("{who}, by cgroup2 at {mount}{hybrid}"),
            None => "unknown without cgroup2".into(),
        }
    }

    /// Each cause of a missing owner, with its remedy.
    fn advice(&self) -> Vec<String> {
        let known = |is_missing: bool, text: &str| is_missing.then(|| text.to_owned());
        let has_mount = self.mount.is_some();
        [
            known(!self.has_bpf, "only the BPF program reports owners; its row below has the cause and the remedy"),
            self.limits.clone(),
            known(
                has_mount && self.has_v1,
                "a container that is only in cgroup v1 has no name here; boot with systemd.unified_cgroup_hierarchy=1",
            ),
            known(
                self.has_bpf && self.receivers == Receivers::FullUdp,
                "this kernel does not report the receiving socket of other drops (6.11 and later do), so most of those packets have no owner",
            ),
            known(
                self.has_bpf && self.receivers == Receivers::None,
                "this kernel does not report the receiving socket (6.11 and later do), so most received packets have no owner",
            ),
            known(
                has_mount && !self.opens_by_id,
                "without CAP_DAC_READ_SEARCH, a cgroup that ends soon after the drop may have no name; grant it, or run as root",
            ),
            known(
                self.has_bpf && !self.reads_descriptors,
                "without both CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, sockets of other users have no process, and namespaces no container; grant them, or run as root",
            ),
            known(
                self.hides_processes,
                "/proc hides the processes of other users (mount option hidepid); grant CAP_SYS_PTRACE",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_known() -> Conditions {
        Conditions {
            mount: Some("/sys/fs/cgroup".into()),
            limits: None,
            has_v1: false,
            has_bpf: true,
            receivers: Receivers::All,
            opens_by_id: true,
            reads_descriptors: true,
            hides_processes: false,
        }
    }

    #[test]
    fn modern_host_knows_senders_and_receivers() {
        let check = all_known().check();
        assert_eq!((check.state, check.advice), (State::Good, None));
        assert_eq!(check.found, "senders and receivers, by cgroup2 at /sys/fs/cgroup");
    }

    #[test]
    fn each_missing_condition_has_a_remedy() {
        let advice = |conditions: Conditions| {
            let check = conditions.check();
            assert_eq!(check.state, State::Degraded);
            (check.found, check.advice.unwrap())
        };
        let (found, text) = advice(Conditions { receivers: Receivers::FullUdp, ..all_known() });
        assert!(
            found.starts_with("senders, and receivers whose") && text.contains("of other drops (6.11"),
            "{found} {text}"
        );
        let (found, text) = advice(Conditions { receivers: Receivers::None, ..all_known() });
        assert!(found.starts_with("senders only") && text.contains("6.11"), "{found} {text}");
        let (found, text) = advice(Conditions { has_v1: true, ..all_known() });
        assert!(found.ends_with("beside cgroup v1") && text.contains("unified_cgroup_hierarchy=1"), "{found} {text}");
        let (found, text) = advice(Conditions { mount: None, limits: Some("mount it".into()), ..all_known() });
        assert_eq!((&*found, &*text), ("unknown without cgroup2", "mount it"));
        let (found, text) = advice(Conditions { has_bpf: false, receivers: Receivers::None, ..all_known() });
        assert!(found == "unknown without the BPF program" && text.lines().count() == 1, "{found} {text}");
        let (_, text) = advice(Conditions { reads_descriptors: false, ..all_known() });
        assert!(text.contains("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH") && text.lines().count() == 1, "{text}");
        let (_, text) = advice(Conditions { opens_by_id: false, hides_processes: true, ..all_known() });
        assert!(text.contains("CAP_DAC_READ_SEARCH") && text.contains("CAP_SYS_PTRACE"), "{text}");
    }
}
