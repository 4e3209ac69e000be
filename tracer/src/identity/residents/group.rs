//! The owner that the processes of one network namespace have in common.

use std::collections::HashSet;

use crate::identity::container::{self, Owner};
use crate::identity::proc_folder::Process;

/// The greatest number of containers that are distinguished in a namespace.
const MOST_CONTAINERS: usize = 1024;

/// The owner of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// The path that the cgroups of the processes have in common. It is that of the pod for the namespace of a pod.
    pub cgroup: Option<String>,
    /// The owner of this cgroup. Only processes in containers count, if there are any.
    pub owner: Owner,
    /// The first of these processes.
    pub process: Process,
    /// The number of these processes.
    pub processes: u32,
    /// The number of further containers in this namespace that are neither in the same pod nor in the same container,
    /// as with `docker run --network container:NAME`; 0 if the owner is not a container.
    pub others: u32,
}

impl Resident {
    /// Whether the owner is a container or a pod, and no other lives in the namespace.
    pub fn is_single_container(&self) -> bool {
        self.owner.is_contained() && self.others == 0
    }

    /// This later resident of the same namespace: containers of before count, also if they ended.
    pub(super) fn after(self, before: &Self) -> Self {
        if !before.owner.is_contained() {
            return self;
        }
        if !self.owner.is_contained() {
            return before.clone();
        }
        let joined = u32::from(without_unit(&before.owner) != without_unit(&self.owner));
        Self { others: self.others.max(before.others).max(joined), ..self }
    }
}

/// The processes of a namespace: those in containers if there are any, else all.
#[derive(Debug)]
pub(super) struct Group {
    /// The first of them.
    pub(super) first: Process,
    processes: u32,
    /// The part that the paths of their cgroups have in common.
    common: String,
    containers: HashSet<Owner>,
}

impl Group {
    pub(super) fn new(first: Process) -> Self {
        let common = first.cgroup.clone().unwrap_or_default();
        let containers = first.owner.is_contained().then(|| without_unit(&first.owner)).into_iter().collect();
        Self { first, processes: 1, common, containers }
    }

    pub(super) fn add(&mut self, process: Process) {
        match (self.first.owner.is_contained(), process.owner.is_contained()) {
            (true, false) => return,
            (false, true) => {
                *self = Self::new(process);
                return;
            }
            _ => {}
        }
        self.processes += 1;
        let length = common_length(&self.common, process.cgroup.as_deref().unwrap_or_default());
        self.common.truncate(length);
        if process.owner.is_contained() && self.containers.len() < MOST_CONTAINERS {
            self.containers.insert(without_unit(&process.owner));
        }
    }

    pub(super) fn resident(&self) -> Resident {
        let (process, processes) = (self.first.clone(), self.processes);
        let common = Some(self.common.as_str()).filter(|path| !path.is_empty());
        let (cgroup, owner) = common.map_or((None, Owner::default()), |path| {
            let (path, owner) = pod_of(path);
            (Some(path.to_owned()), owner)
        });
        if owner.is_contained() || !process.owner.is_contained() {
            return Resident { cgroup, owner, process, processes, others: 0 };
        }
        // Several containers have no more in common than the host.
        let others = u32::try_from(self.containers.len()).unwrap_or(u32::MAX).saturating_sub(1);
        Resident { cgroup: process.cgroup.clone(), owner: process.owner.clone(), process, processes, others }
    }
}

/// One container may have many units of systemd.
fn without_unit(owner: &Owner) -> Owner {
    Owner { unit: None, ..owner.clone() }
}

/// The number of bytes of the whole components that both paths start with.
fn common_length(one: &str, other: &str) -> usize {
    let same = one.split('/').zip(other.split('/')).take_while(|(one, other)| one == other);
    let length: usize = same.map(|(component, _)| component.len() + 1).sum();
    length.saturating_sub(1)
}

/// The pod instead of its container, because all containers of a pod share the namespace. A container that runs within a
/// container of a pod has a namespace of its own.
fn pod_of(path: &str) -> (&str, Owner) {
    let owner = container::owner(path);
    if owner.pod.is_some() {
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            above = parent;
            let of_parent = container::owner(parent);
            if of_parent.container.is_none() && of_parent.pod == owner.pod {
                return (parent, of_parent);
            }
            if of_parent.container != owner.container {
                break;
            }
        }
    }
    (path, owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_parts_are_whole_components() {
        let common = |one: &str, other| one[..common_length(one, other)].to_owned();
        assert_eq!(common("/a/bc/d", "/a/bc/e"), "/a/bc");
        assert_eq!(common("/a/bc", "/a/bd"), "/a");
        assert_eq!(common("/a", "/a"), "/a");
        assert_eq!(
            (common("/a", "/b"), common("/a", ""), common("", "/a")),
            (String::new(), String::new(), String::new())
        );
    }
}
