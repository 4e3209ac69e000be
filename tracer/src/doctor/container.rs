//! Checks what a container shows of its host, and names the mounts and options that would show more.

use std::env;
use std::fs;
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::{Check, State};
use crate::identity::cgroup;
use crate::identity::mountinfo::mounts;
use crate::kernel::support::Facts;
use crate::netlink;

/// The numbers of the first namespaces of processes and of cgroups (`PROC_PID_INIT_INO`, `PROC_CGROUP_INIT_INO`,
/// `include/linux/proc_ns.h`).
const FIRST: [(&str, &str); 2] = [("pid", "pid:[4026531836]"), ("cgroup", "cgroup:[4026531835]")];
/// Variables that container runtimes set: systemd-nspawn, Podman and LXC the first, Kubernetes the second.
const VARIABLES: [&str; 2] = ["container", KUBERNETES];
const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";
/// The folder with the names of network namespaces.
const NAMES: &str = "/run/netns";
const PODS: &str = "/var/log/pods";

/// A folder of the host within this container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mounted {
    /// Mounts that the host makes there later appear.
    Shared,
    /// Only the mounts that existed when the container started are there.
    Private,
    /// The folder is the container's own, or absent.
    No,
}

/// What the container shows.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
struct Surroundings {
    has_host_processes: bool,
    /// `None` if that is unknown.
    has_host_network: Option<bool>,
    names: Mounted,
    has_all_cgroups: bool,
    is_kubernetes: bool,
    has_pods: bool,
    capabilities: CapabilitySet,
}

/// The checks of a container; none outside of a container.
pub(super) fn container(facts: &Facts) -> Vec<Check> {
    let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
    if !is_container(&mountinfo) {
        return vec![];
    }
    Surroundings {
        has_host_processes: is_first("pid"),
        has_host_network: netlink::absence::is_in_first_namespace(),
        names: mounted(&mountinfo, Path::new(NAMES)),
        has_all_cgroups: shows_all_cgroups(&mountinfo),
        is_kubernetes: env::var_os(KUBERNETES).is_some(),
        has_pods: Path::new(PODS).is_dir(),
        capabilities: facts.capabilities,
    }
    .checks()
}

fn is_container(mountinfo: &[u8]) -> bool {
    let is_layered = || mounts(mountinfo).any(|mount| mount.kind == b"overlay" && mount.point() == Path::new("/"));
    FIRST.iter().any(|(kind, _)| !is_first(kind))
        || VARIABLES.iter().any(|it| env::var_os(it).is_some())
        || is_layered()
}

/// Whether this process is in the first namespace of a kind; true where the kernel does not say.
fn is_first(kind: &str) -> bool {
    let first = FIRST.iter().find(|(name, _)| *name == kind).map(|(_, first)| Path::new(first));
    fs::read_link(Path::new("/proc/self/ns").join(kind)).map_or(true, |link| Some(&*link) == first)
}

/// Finds out whether a folder is on a mount of its own, as a volume of a container is: on the folder or on one above it,
/// other than the root.
fn mounted(mountinfo: &[u8], folder: &Path) -> Mounted {
    let above = |point: &Path| point != Path::new("/") && folder.starts_with(point);
    let found = mounts(mountinfo).filter(|mount| mount.kind != b"nsfs" && above(&mount.point()) && folder.is_dir());
    match found.max_by_key(|mount| mount.point().as_os_str().len()) {
        Some(mount) if mount.receives_mounts => Mounted::Shared,
        Some(_) => Mounted::Private,
        None => Mounted::No,
    }
}

fn shows_all_cgroups(mountinfo: &[u8]) -> bool {
    mounts(mountinfo).any(|mount| mount.kind == b"cgroup2" && cgroup::is_whole(&mount.point()))
}

/// A way to show more of the host, in the words of Docker and Podman and in those of Kubernetes.
struct Remedy {
    docker: &'static str,
    kubernetes: &'static str,
}

impl Surroundings {
    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.processes(), self.network(), self.namespaces(), self.cgroups(), self.capabilities()];
        if self.is_kubernetes {
            checks.push(self.pods());
        }
        checks
    }

    fn processes(&self) -> Check {
        check(
            "container processes",
            if self.has_host_processes { "the host's" } else { "the container's own" },
            (!self.has_host_processes).then_some((
                "the host's processes have no names here, and network namespaces that only a process holds are not found",
                Remedy { docker: "--pid=host", kubernetes: "hostPID: true" },
            )),
        )
    }

    fn network(&self) -> Check {
        let found = match self.has_host_network {
            Some(true) => "the host's",
            Some(false) => "the container's own",
            None => "unknown",
        };
        check(
            "container network",
            found,
            (self.has_host_network != Some(true)).then_some((
                "drops of the host are counted, but its interfaces have no class, drops on the host's ends of virtual links \
                 have no owner, and the drop monitor reports in the host's namespace only",
                Remedy { docker: "--network=host", kubernetes: "hostNetwork: true" },
            )),
        )
    }

    fn namespaces(&self) -> Check {
        let (found, lost) = match self.names {
            Mounted::Shared => ("the host's /run/netns", None),
            Mounted::Private => (
                "/run/netns as it was at the start",
                Some("network namespaces that are made later have numbers and no names"),
            ),
            Mounted::No => (
                "/run/netns is not the host's",
                Some("network namespaces have numbers (inode number, cookie) and no names"),
            ),
        };
        let remedy = Remedy {
            docker: "-v /run/netns:/run/netns:ro,rslave",
            kubernetes: "a hostPath volume of /run/netns with mountPropagation: HostToContainer",
        };
        check("container namespaces", found, lost.map(|lost| (lost, remedy)))
    }

    fn cgroups(&self) -> Check {
        let found = if self.has_all_cgroups { "all of the host" } else { "not all of the host" };
        check(
            "container cgroups",
            found,
            (!self.has_all_cgroups).then_some((
                "packets of cgroups outside of the visible part have no owner",
                Remedy {
                    docker: "--cgroupns=host, or -v /sys/fs/cgroup:/sys/fs/cgroup:ro",
                    kubernetes: "a hostPath volume of /sys/fs/cgroup",
                },
            )),
        )
    }

    fn pods(&self) -> Check {
        let found = if self.has_pods { "the host's /var/log/pods" } else { "/var/log/pods is absent" };
        check(
            "container pods",
            found,
            (!self.has_pods).then_some((
                "pods have UIDs and no names",
                Remedy {
                    docker: "-v /var/log/pods:/var/log/pods:ro",
                    kubernetes: "a read-only hostPath volume of /var/log/pods",
                },
            )),
        )
    }

    /// The capabilities beyond those that the best backend needs.
    fn capabilities(&self) -> Check {
        const USES: [(CapabilitySet, &str, &str); 5] = [
            (CapabilitySet::SYSLOG, "SYSLOG", "names of functions"),
            (CapabilitySet::DAC_READ_SEARCH, "DAC_READ_SEARCH", "names of cgroups that end soon"),
            (CapabilitySet::SYS_PTRACE, "SYS_PTRACE", "processes of other users and their network namespaces"),
            (CapabilitySet::SYS_ADMIN, "SYS_ADMIN", "the kernel's counters in other network namespaces"),
            (CapabilitySet::NET_ADMIN, "NET_ADMIN", "the drop monitor, and droptrace rule"),
        ];
        let missing: Vec<_> = USES.into_iter().filter(|(set, ..)| !self.capabilities.contains(*set)).collect();
        if missing.is_empty() {
            return check("container capabilities", "all that droptrace has a use for", None);
        }
        let lost = missing.iter().map(|(_, name, lost)| format!("without {name}: {lost}"));
        let added: Vec<_> = missing.iter().map(|(_, name, _)| format!("--cap-add={name}")).collect();
        let names: Vec<_> = missing.iter().map(|(_, name, _)| *name).collect();
        let advice = lost.collect::<Vec<_>>().join("\n");
        let ways = ways(&added.join(" "), &format!("securityContext.capabilities.add: [{}]", names.join(", ")));
        Check {
            name: "container capabilities",
            state: State::Degraded,
            found: format!("{} of {} are missing", missing.len(), USES.len()),
            advice: Some(format!("{advice}\nadd those that you want; {ways}")),
        }
    }
}

fn check(name: &'static str, found: &str, lost: Option<(&str, Remedy)>) -> Check {
    let state = if lost.is_some() { State::Degraded } else { State::Good };
    let advice = lost.map(|(lost, remedy)| format!("{lost}; {}", ways(remedy.docker, remedy.kubernetes)));
    Check { name, state, found: found.into(), advice }
}

fn ways(docker: &str, kubernetes: &str) -> String {
    format!("Docker, Podman: {docker}; Kubernetes: {kubernetes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Surroundings {
        Surroundings {
            has_host_processes: true,
            has_host_network: Some(true),
            names: Mounted::Shared,
            has_all_cgroups: true,
            is_kubernetes: true,
            has_pods: true,
            capabilities: CapabilitySet::all(),
        }
    }

    #[test]
    fn container_that_shows_the_host_limits_nothing() {
        let checks = all().checks();
        assert_eq!(checks.len(), 6);
        assert!(checks.iter().all(|check| check.state == State::Good && check.advice.is_none()), "{checks:?}");
        let checks = Surroundings { is_kubernetes: false, has_pods: false, ..all() }.checks();
        assert!(checks.iter().all(|check| check.name != "container pods"), "{checks:?}");
    }

    #[test]
    fn each_hidden_part_has_its_option() {
        let none = Surroundings {
            has_host_processes: false,
            has_host_network: Some(false),
            names: Mounted::No,
            has_all_cgroups: false,
            is_kubernetes: true,
            has_pods: false,
            capabilities: CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYSLOG,
        };
        let options = [
            ["--pid=host", "hostPID: true"],
            ["--network=host", "hostNetwork: true"],
            ["/run/netns:/run/netns:ro,rslave", "HostToContainer"],
            ["--cgroupns=host", "hostPath volume of /sys/fs/cgroup"],
            ["--cap-add=SYS_PTRACE", "capabilities.add: [DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN, NET_ADMIN]"],
            ["/var/log/pods:/var/log/pods:ro", "hostPath volume of /var/log/pods"],
        ];
        for (check, options) in none.checks().iter().zip(options) {
            let advice = check.advice.as_deref().unwrap();
            assert_eq!(check.state, State::Degraded);
            assert!(options.iter().all(|option| advice.contains(option)), "{options:?} in {advice}");
        }
        let private = Surroundings { names: Mounted::Private, ..all() }.namespaces();
        assert!(private.found.contains("at the start") && private.advice.unwrap().contains("made later"));
    }

    #[test]
    fn volume_is_found_by_its_mount() {
        let folder = env::temp_dir();
        let line = |options: &str| format!("50 1 0:30 / {} rw {options}- tmpfs tmpfs rw\n", folder.display());
        let root = "49 1 0:29 / / rw shared:1 - overlay overlay rw\n";
        let found = |text: String| mounted((root.to_owned() + &text).as_bytes(), &folder);
        assert_eq!(found(line("master:7 ")), Mounted::Shared);
        assert_eq!(found(line("")), Mounted::Private);
        assert_eq!(found(String::new()), Mounted::No);
        assert_eq!(mounted(line("").as_bytes(), Path::new("/tmp/no such folder")), Mounted::No);
        assert!(is_container(root.as_bytes()));
    }
}
