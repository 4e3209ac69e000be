//! Names of whose packets were dropped.

use std::sync::Arc;

use tracer_common::{SOCKET_OWNER, SOCKET_RECEIVER};

use crate::domain::event::Residence;
use crate::domain::facts::Role;
use crate::domain::owner::Owner;
use crate::identity::netns::{Identify, NetnsId};
use crate::identity::owners::{NamedOwner, Owners};

/// The number of the root group's node.
const ROOT: u64 = 1;

/// The number of a control group that is somebody's; 0 for the root group, whose node is the first of its hierarchy
/// (`kernfs_create_root`, `fs/kernfs/dir.c`).
pub(super) const fn known(cgroup_id: u64) -> u64 {
    if cgroup_id == ROOT { 0 } else { cgroup_id }
}

/// The names of the parts: the ids of containers and pods stand in for names that this host does not have.
pub(super) fn names(found: &NamedOwner) -> Owner {
    let NamedOwner { cgroup, owner, pod, container } = found;
    let pod = pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name).into());
    let id = || owner.container.as_ref().map(|container| container.short().into());
    Owner {
        cgroup: Some(Arc::clone(cgroup)),
        container: container.clone().or_else(id),
        pod: pod.or_else(|| owner.pod.as_deref().map(Arc::from)),
        unit: owner.unit.as_deref().map(Arc::from),
    }
}

/// The container or pod that lives in the namespace of a drop, else the one at the other end of its interface.
pub(super) fn resident(
    owners: &mut Owners,
    namespace: NetnsId,
    ifindex: u32,
    identify: &impl Identify,
) -> Option<(NamedOwner, Option<Residence>)> {
    if let Some(owner) = owners.of_namespace(namespace, identify) {
        return Some((owner, Some(Residence::Here)));
    }
    Some((owners.beyond_link(namespace, ifindex, identify)?, Some(Residence::Peer)))
}

/// The role of a key's socket; absent without a socket.
pub(super) const fn role(socket: u8) -> Option<Role> {
    match socket {
        SOCKET_RECEIVER => Some(Role::Receiver),
        SOCKET_OWNER => Some(Role::Owner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::container;
    use crate::identity::pods::Pod;

    const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";
    const UID: &str = "5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a";

    fn named(path: &str, pod: Option<Pod>, container: Option<&str>) -> Owner {
        let (pod, container) = (pod.map(Arc::new), container.map(Arc::from));
        names(&NamedOwner { cgroup: path.into(), owner: container::owner(path), pod, container })
    }

    #[test]
    fn ids_stand_in_for_unknown_names() {
        let path = format!("/kubepods/pod{UID}/{ID}");
        let pod = Pod { namespace: "shop".into(), name: "web".into() };
        let known = named(&path, Some(pod), Some("nginx"));
        assert_eq!((known.pod.as_deref(), known.container.as_deref()), (Some("shop/web"), Some("nginx")));
        let unknown = named(&path, None, None);
        assert_eq!((unknown.pod.as_deref(), unknown.container.as_deref()), (Some(UID), Some("3f4e8a1b2c3d")));
        let unit = named("/system.slice/ssh.service", None, None);
        assert_eq!((unit.unit.as_deref(), unit.container, unit.pod), (Some("ssh.service"), None, None));
    }
}
