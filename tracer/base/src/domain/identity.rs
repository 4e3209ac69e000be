//! When two keys are the same, whatever names they have by now.

use std::sync::Arc;

use super::event::{Kind, NamedKey, Residence};
use super::facts::Role;
use super::flow::Flow;
use super::owner::Owner;

/// The numbers of a key, and its names where there are no numbers. Names get better with time, and interfaces may be
/// renamed, so that equal identities may have different names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    address: u64,
    reason: Option<u32>,
    /// Present only where the reason has no number.
    reason_name: Option<Arc<str>>,
    trap_group: Option<Arc<str>>,
    /// Cookie and inode number.
    netns: (u64, u32),
    ifindex: u32,
    /// Present only where the interface has no index.
    interface: Option<Arc<str>>,
    protocol: u16,
    kind: Kind,
    cgroup_id: u64,
    /// Present only where neither the control group nor the home of a resident has a number.
    owner: Option<Arc<Owner>>,
    socket: Option<Role>,
    flow: Option<Arc<Flow>>,
    /// Absent where the home has a number: its resident may become known later.
    residence: Option<Residence>,
}

impl From<&NamedKey> for Identity {
    fn from(key: &NamedKey) -> Self {
        let NamedKey { kind, reason, location, protocol, interface, ifindex, netns, netns_cookie, .. } = key;
        let has_home = match key.residence {
            None => false,
            Some(Residence::Here) => *netns != 0,
            // The link determines the namespace at its other end.
            Some(Residence::Peer) => *netns != 0 && *ifindex != 0,
        };
        let has_number = key.cgroup_id != 0 || has_home;
        Self {
            address: location.address,
            reason: reason.value,
            reason_name: if reason.value.is_none() { Some(Arc::clone(&reason.name)) } else { None },
            trap_group: location.trap_group.clone(),
            netns: (*netns_cookie, *netns),
            ifindex: *ifindex,
            interface: if *ifindex == 0 { interface.clone() } else { None },
            protocol: *protocol,
            kind: *kind,
            cgroup_id: key.cgroup_id,
            owner: (!has_number && *key.owner != Owner::default()).then(|| Arc::clone(&key.owner)),
            socket: key.socket,
            flow: key.flow.clone(),
            residence: key.residence.filter(|_| !has_home),
        }
    }
}
