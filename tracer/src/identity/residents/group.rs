//! The processes of one network namespace, and whose they are.

use std::collections::HashSet;

use super::Resident;
use crate::identity::container::{self, Owner};
use crate::identity::proc_folder::Process;

/// The greatest number of containers that are distinguished in a namespace.
const MOST_CONTAINERS: usize = 1024;

/// The processes of a namespace: those in containers if there are any, else all.
#[derive(Debug)]
pub(super) struct Group {
    first: Process,
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

    /// The id of the first process.
    pub(super) const fn pid(&self) -> u32 {
        self.first.pid
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
pub(super) fn without_unit(owner: &Owner) -> Owner {
    Owner { unit: None, ..owner.clone() }
}

/// The number of bytes of the whole components that both paths start with.
pub(super) fn common_length(one: &str, other: &str) -> usize {
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
