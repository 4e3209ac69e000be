//! The names that container runtimes give to cgroups.

use std::fmt;

use super::systemd::unescape;
use super::text;

/// The program that runs a container, as the cgroup's name has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Runtime {
    /// Docker (`docker-ID.scope`, `/docker/ID`).
    Docker,
    /// containerd for Kubernetes (`cri-containerd-ID.scope`).
    Containerd,
    /// CRI-O (`crio-ID.scope`).
    CriO,
    /// Podman (`libpod-ID.scope`).
    Podman,
    /// nerdctl (`nerdctl-ID.scope`).
    Nerdctl,
    /// systemd-nspawn, or another machine of systemd-machined (`machine-NAME.scope`, `systemd-nspawn@NAME.service`).
    Nspawn,
    /// A virtual machine of libvirt (`machine-qemu\x2dNUMBER\x2dNAME.scope`).
    Libvirt,
    /// LXC, LXD or Incus (`lxc.payload.NAME`).
    Lxc,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Nerdctl => "nerdctl",
            Self::Nspawn => "nspawn",
            Self::Libvirt => "libvirt",
            Self::Lxc => "lxc",
        })
    }
}

/// A container, or a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Container {
    /// Absent if the path has only the container's id, as with the driver `cgroupfs`.
    pub(crate) runtime: Option<Runtime>,
    /// 64 hexadecimal digits; the name of a machine, or of a container of LXC.
    pub(crate) id: String,
}

impl Container {
    /// The id as runtimes show it: the first 12 of many digits, or the whole name.
    pub(crate) fn short(&self) -> &str {
        if is_id(&self.id) { &self.id[..12] } else { &self.id }
    }
}

/// The starts of the names that have an id behind them.
const PREFIXES: [(&str, Runtime); 6] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("crio-", Runtime::CriO),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
    ("nerdctl-", Runtime::Nerdctl),
];

/// The container that a cgroup with this name is. The monitors of containers (`crio-conmon-ID`, `libpod-conmon-ID`,
/// `lxc.monitor.NAME`) are none.
pub(super) fn container(component: &str, parent: &str) -> Option<Container> {
    by_id(component, parent).or_else(|| machine(component)).or_else(|| lxc(component, parent))
}

fn by_id(component: &str, parent: &str) -> Option<Container> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some(Container { runtime: Some(runtime), id: id.to_owned() });
        }
    }
    if is_id(component) || is_task_id(component) {
        let runtime = match parent {
            "docker" => Some(Runtime::Docker),
            "libpod_parent" => Some(Runtime::Podman),
            _ => None,
        };
        return Some(Container { runtime, id: component.to_owned() });
    }
    // `SLICE:cri-containerd:ID`: the kubelet names cgroups for systemd, and containerd does not.
    let (before, id) = component.rsplit_once(':')?;
    let runtime = match before.rsplit_once(':')?.1 {
        "cri-containerd" => Runtime::Containerd,
        "docker" => Runtime::Docker,
        "crio" => Runtime::CriO,
        _ => return None,
    };
    is_id(id).then(|| Container { runtime: Some(runtime), id: id.to_owned() })
}

/// A machine of systemd (`machine-NAME.scope`, `src/machine/machine-dbus.c`; `systemd-nspawn@NAME.service`).
fn machine(component: &str) -> Option<Container> {
    let scope = component.strip_prefix("machine-").and_then(|name| name.strip_suffix(".scope"));
    let service = || component.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let machine = unescape(scope.or_else(service)?);
    // `qemu-NUMBER-NAME`: libvirt counts its machines since its start.
    let domain = machine.strip_prefix("qemu-").and_then(|rest| rest.split_once('-'));
    let (runtime, id) = match domain {
        Some((number, name)) if number.parse::<u32>().is_ok() => (Runtime::Libvirt, name),
        _ => (Runtime::Nspawn, &*machine),
    };
    Some(Container { runtime: Some(runtime), id: text::name(id)? })
}

/// `lxc.payload.NAME` since LXC 4, `lxc.payload/NAME` and `lxc/NAME` before.
fn lxc(component: &str, parent: &str) -> Option<Container> {
    let is_below = matches!(parent, "lxc" | "lxc.payload");
    let name = component.strip_prefix("lxc.payload.").or(is_below.then_some(component))?;
    Some(Container { runtime: Some(Runtime::Lxc), id: text::name(name)? })
}

/// The UID of the pod that a cgroup with this name is: `kubepods-QOS-podUID.slice` with `_` instead of `-` in the UID
/// (the kubelet's driver `systemd`), or `podUID` (its driver `cgroupfs`; `pkg/kubelet/cm` of Kubernetes).
pub(super) fn pod(component: &str) -> Option<String> {
    // The slice of `SLICE:cri-containerd:ID`.
    let slice = component.split(':').next()?;
    let uid = match slice.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map_or_else(|| slice.strip_prefix("pod"), |(_, uid)| Some(uid))?,
        None => slice.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    (is_uuid(&uid) || is_hex(&uid, 32)).then_some(uid)
}

fn is_id(text: &str) -> bool {
    is_hex(text, 64)
}

/// An id of Amazon ECS: 32 hexadecimal digits, a hyphen, and a number.
fn is_task_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        is_hex(task, 32) && (1..=20).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_uuid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    text.split('-').count() == groups.len() && text.split('-').zip(groups).all(|(group, length)| is_hex(group, length))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
