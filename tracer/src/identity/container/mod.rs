//! Finds who owns a cgroup in the cgroup's path: a container, a pod, a unit of systemd, a user.
//!
//! The path says what its makers chose. A user to whom a part of the hierarchy is delegated can give a cgroup any name
//! there, also one that looks like a container's.

mod runtime;
mod systemd;
#[cfg(test)]
mod tests;

use super::text;

pub(crate) use runtime::Container;

/// The owner of a cgroup, as its path has it. Each of the parts may be absent; the path of an owner that is none of
/// these, such as a slice's, still tells one owner from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    /// The innermost container. Within a pod, the containers around the pod (such as a node of kind) do not count.
    pub(crate) container: Option<Container>,
    /// The UID of the innermost Kubernetes pod: that of the API, or 32 hexadecimal digits for a static pod
    /// (`kubernetes.io/config.hash`).
    pub(crate) pod: Option<String>,
    /// The innermost service or scope of systemd, without the escapes of its name. The scope that stands for the
    /// container itself does not count.
    pub(crate) unit: Option<String>,
    /// The host's user id to whose slice or service manager the cgroup belongs.
    pub(crate) user: Option<u32>,
}

impl Owner {
    /// Whether the owner is a container or a pod.
    pub(crate) fn is_contained(&self) -> bool {
        self.container.is_some() || self.pod.is_some()
    }
}

/// The owner of the cgroup with this path, which may have any number of foreign components before and after those of a
/// runtime, as in a container within a container.
pub(crate) fn owner(path: &str) -> Owner {
    let mut owner = Owner::default();
    let (mut parent, mut is_outside) = ("", true);
    for component in path.split('/').filter(|component| !matches!(*component, "" | "." | "..")) {
        let component = component.strip_prefix('_').unwrap_or(component);
        if let Some(user) = systemd::user(component).filter(|_| is_outside) {
            owner.user = Some(user);
        }
        if let Some(pod) = runtime::pod(component) {
            owner = Owner { pod: Some(pod), container: None, ..owner };
        }
        if let Some(container) = runtime::container(component, parent) {
            owner.container = Some(container);
            is_outside = false;
        } else if let Some(unit) = systemd::unit(component) {
            owner.unit = Some(unit);
        }
        parent = component;
    }
    owner
}

/// The path in the text of a process's `/proc/PID/cgroup` (`cgroups(7)`) that says most about the process's owner, with
/// this owner. That of cgroup2 (`0::/…`) counts unless only a hierarchy of cgroup v1 names a container: on hybrid hosts
/// a runtime may put its containers only there, and leave them in the root of cgroup2. The path is absent for a process
/// that is in the root of all hierarchies. The kernel's paths begin with a slash; others are left out.
pub(crate) fn of_process(cgroups: &str) -> Option<(String, Owner)> {
    let paths = cgroups.lines().filter_map(parse).filter(|(_, path)| path.len() > 1 && path.starts_with('/'));
    let ranked = paths.map(|(rank, path)| (rank, text::path(path))).map(|(rank, path)| {
        let owner = owner(&path);
        let detail = (owner.container.is_some(), owner.pod.is_some(), owner.unit.is_some(), owner.user.is_some());
        ((detail, rank), path, owner)
    });
    ranked.max_by(|(one, ..), (other, ..)| one.cmp(other)).map(|(_, path, owner)| (path, owner))
}

/// The rank of a hierarchy and the path in it: `hierarchy-ID:controller-list:path`.
fn parse(line: &str) -> Option<(u8, &str)> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let rank = match (id, controllers) {
        ("0", "") => 3,
        (_, "name=systemd") => 2,
        (_, "memory" | "pids") => 1,
        _ => 0,
    };
    Some((rank, path.strip_suffix(" (deleted)").unwrap_or(path)))
}
