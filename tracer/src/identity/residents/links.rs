//! Finds the network namespaces at the other ends of virtual links (veth).

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;

use crate::identity::netns::{Identify, NetnsId};
use crate::identity::proc_folder::Folder;
use crate::identity::recent::Recent;
use crate::netlink::{Peers, Veth};

/// The greatest number of links whose other ends are kept.
const CAPACITY: usize = 4096;

/// The other ends of the links of this process's own network namespace.
#[derive(Debug)]
pub(super) struct Links {
    /// Absent where the kernel cannot be asked.
    peers: Option<Peers>,
    /// By the index of the link. The kernel counts indexes up, so that a new link does not get that of a link that has gone.
    known: Recent<u32, Known>,
    /// A process of each namespace, by the namespace's id.
    processes: HashMap<u32, u32>,
    /// Whether `processes` are those of the last search.
    is_current: bool,
}

/// What was at the other end of a link so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    One(Veth, NetnsId),
    /// The other end was moved to another namespace.
    Several,
}

impl Known {
    const fn namespace(self) -> Option<NetnsId> {
        match self {
            Self::One(_, namespace) => Some(namespace),
            Self::Several => None,
        }
    }
}

impl Links {
    pub(super) fn new() -> Self {
        let peers = Peers::open();
        let peers = peers.inspect_err(|error| tracing::debug!("the ends of virtual links are unknown: {error}")).ok();
        Self { peers, known: Recent::new(CAPACITY), processes: HashMap::new(), is_current: false }
    }

    /// The processes of namespaces may be others now.
    pub(super) const fn renew(&mut self) {
        self.is_current = false;
    }

    /// The namespace at the other end of a link, by the link's index. `processes` has a process of each namespace. The
    /// namespace of a link that has gone stays known. It is absent if the link is of another kind, if no process is in the
    /// namespace, and if the other end was moved.
    pub(super) fn beyond(
        &mut self,
        ifindex: u32,
        proc: &Path,
        processes: impl Iterator<Item = u32>,
        identify: &impl Identify,
    ) -> Option<NetnsId> {
        let before = self.known.get(&ifindex).copied();
        match self.peers.as_mut()?.veth(ifindex) {
            Ok(Some(veth)) => {
                let found = self.search(ifindex, veth, proc, processes, identify);
                let known = joined(before, veth, found)?;
                self.known.insert(ifindex, known);
                known.namespace()
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!("link {ifindex}: {error}");
                before.and_then(Known::namespace)
            }
        }
    }

    fn search(
        &mut self,
        ifindex: u32,
        veth: Veth,
        proc: &Path,
        processes: impl Iterator<Item = u32>,
        identify: &impl Identify,
    ) -> Option<NetnsId> {
        let found = self.confirmed(ifindex, veth, proc, identify);
        if found.is_some() || self.is_current {
            return found;
        }
        self.is_current = true;
        let peers = self.peers.as_mut()?;
        let id = |pid: u32| peers.id_of(Folder::open(proc, pid)?.open_netns()?.as_fd()).ok()?.map(|id| (id, pid));
        self.processes = processes.filter_map(id).collect();
        self.confirmed(ifindex, veth, proc, identify)
    }

    /// The namespace of the process that is known for the id, if the link leads there. The open file keeps the namespace,
    /// and with it the id, so that the link leads to no other one.
    fn confirmed(&mut self, ifindex: u32, veth: Veth, proc: &Path, identify: &impl Identify) -> Option<NetnsId> {
        let pid = *self.processes.get(&veth.namespace)?;
        let file = Folder::open(proc, pid)?.open_netns()?;
        let peers = self.peers.as_mut()?;
        let is_there =
            peers.id_of(file.as_fd()).ok()? == Some(veth.namespace) && peers.veth(ifindex).ok()? == Some(veth);
        if is_there { identify.identify(file.as_fd()).ok() } else { None }
    }
}

/// What was known of a link's other end, and what was found now.
fn joined(before: Option<Known>, veth: Veth, found: Option<NetnsId>) -> Option<Known> {
    match (before, found) {
        (None, None) => None,
        (None, Some(found)) => Some(Known::One(veth, found)),
        (Some(Known::One(known, namespace)), found)
            if known == veth && found.is_none_or(|found| found == namespace) =>
        {
            Some(Known::One(veth, namespace))
        }
        (Some(_), _) => Some(Known::Several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_that_was_moved_is_unknown() {
        let (here, there) = (Veth { namespace: 1, ifindex: 2 }, Veth { namespace: 3, ifindex: 2 });
        let [one, other] = [5, 6].map(|inum| NetnsId { cookie: None, inum });
        assert_eq!(joined(None, here, None), None);
        let first = joined(None, here, Some(one));
        assert_eq!(first, Some(Known::One(here, one)));
        assert_eq!(joined(first, here, None), first, "its last process ended");
        assert_eq!(joined(first, here, Some(one)), first);
        for moved in [joined(first, there, Some(other)), joined(first, there, None), joined(first, here, Some(other))] {
            assert_eq!(moved, Some(Known::Several));
            assert_eq!(joined(moved, here, Some(one)), Some(Known::Several));
        }
    }
}
