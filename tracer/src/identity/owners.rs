//! Names the owners of packets: the one place to ask for a report.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::cgroup::Cgroups;
use super::container::{self, Owner};
use super::netns::{self, Identify, NetnsId};
use super::pods::{Pod, Pods};
use super::proc_folder::{Folder, pids};
use super::process;
use super::recent::Recent;
use super::residents::{Resident, Residents};
pub(crate) use super::sockets::Search;
use super::sockets::Sockets;
use super::stores::Stores;
use crate::domain::owner::Process;

/// The greatest number of known owners.
const CAPACITY: usize = 16_384;

/// An owner with the names that this host has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedOwner {
    /// The path of the cgroup.
    pub(crate) cgroup: Arc<str>,
    /// What the path says.
    pub(crate) owner: Owner,
    /// The pod; absent if the cgroup is not a pod's, or if the pod has no name here.
    pub(crate) pod: Option<Arc<Pod>>,
    /// The name of the container; absent if there is no container, or if it has no name here.
    pub(crate) container: Option<Arc<str>>,
}

impl fmt::Display for NamedOwner {
    /// Shows the most exact name: `shop/web-7d9f/nginx` for a container of a pod, else the container's name or short id,
    /// else the unit, else the path of the cgroup. It is never empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.owner.container.as_ref().map(container::Container::short);
        let container = self.container.as_deref().or(id);
        match (&self.pod, &self.owner.pod, container) {
            (Some(pod), _, Some(container)) => write!(f, "{}/{}/{container}", pod.namespace, pod.name),
            (Some(pod), _, None) => write!(f, "{}/{}", pod.namespace, pod.name),
            (None, Some(uid), Some(container)) => write!(f, "pod {uid}/{container}"),
            (None, Some(uid), None) => write!(f, "pod {uid}"),
            (None, None, Some(container)) => f.write_str(container),
            (None, None, None) => f.write_str(self.owner.unit.as_deref().unwrap_or(&self.cgroup)),
        }
    }
}

/// Finds owners. All lookups may read files, so they belong to reports and not to the path of each drop. All that is
/// kept has a bound.
#[derive(Debug)]
pub struct Owners {
    cgroups: Cgroups,
    /// Absent where namespaces have no owners.
    residents: Option<Residents>,
    /// This process's own network namespace.
    own_netns: Option<u32>,
    pods: Pods,
    stores: Stores,
    /// Absent where processes are not asked for.
    sockets: Option<Sockets>,
    /// By the ids of cgroups. A cgroup that ended keeps its names.
    known: Recent<u64, NamedOwner>,
}

impl Default for Owners {
    fn default() -> Self {
        Self::new()
    }
}

impl Owners {
    /// Finds the cgroup hierarchy. Call it before capabilities are given up; the capabilities `CAP_DAC_READ_SEARCH` and
    /// `CAP_SYS_PTRACE` of the calling thread help in all later lookups.
    pub fn new() -> Self {
        Self {
            cgroups: Cgroups::new(),
            residents: None,
            own_netns: netns::own().ok(),
            pods: Pods::new(),
            stores: Stores::new(),
            sockets: None,
            known: Recent::new(CAPACITY),
        }
    }

    /// Finds the owners of namespaces, and the processes of sockets, too.
    #[must_use]
    pub(crate) fn naming(self, residents: bool, processes: Option<Search>) -> Self {
        let sockets = processes.map(|search| Sockets::new("/proc".into(), search));
        Self { residents: residents.then(Residents::default), sockets, ..self }
    }

    /// Whether namespaces have owners.
    pub(crate) const fn names_residents(&self) -> bool {
        self.residents.is_some()
    }

    /// The owner of the cgroup with this id, as [`Cgroups::path`] finds it. It is looked up until it is found.
    pub(crate) fn of_cgroup(&mut self, id: u64) -> Option<&NamedOwner> {
        if self.known.get(&id).is_none() {
            let path = self.cgroups.path(id)?;
            let owner = container::owner(&path);
            let named = self.named(path, owner);
            self.known.insert(id, named);
        }
        self.known.get(&id)
    }

    /// The owners of the cgroups that exist now, as [`Cgroups::all`] finds them.
    pub(crate) fn of_all_cgroups(&mut self) -> Vec<(u64, NamedOwner)> {
        let all = self.cgroups.all();
        let named = |(id, path): (u64, Arc<str>)| (id, self.named(Arc::clone(&path), container::owner(&path)));
        all.into_iter().map(named).collect()
    }

    /// The container or pod that lives in a network namespace, as [`Residents::owner`] finds it. It is absent if several
    /// containers, or none, have lived there so far. The path of its cgroup is the part that those of its processes have
    /// in common.
    pub(crate) fn of_namespace(&mut self, namespace: NetnsId, identify: &impl Identify) -> Option<NamedOwner> {
        let resident = self.residents.as_mut()?.owner(namespace, identify)?;
        self.of_resident(&resident)
    }

    /// The container or pod that lives in the network namespace at the other end of a virtual link (veth), as
    /// [`Residents::owner_beyond`] finds it. Only the links of this process's own namespace are known; `namespace` is that
    /// of the link, and `ifindex` the link's index.
    pub(crate) fn beyond_link(
        &mut self,
        namespace: NetnsId,
        ifindex: u32,
        identify: &impl Identify,
    ) -> Option<NamedOwner> {
        if ifindex == 0 || self.own_netns != Some(namespace.inum) {
            return None;
        }
        let resident = self.residents.as_mut()?.owner_beyond(ifindex, identify)?;
        self.of_resident(&resident)
    }

    fn of_resident(&mut self, resident: &Resident) -> Option<NamedOwner> {
        let path = resident.cgroup.as_deref().filter(|_| resident.is_single_container())?;
        Some(self.named(path.into(), resident.owner.clone()))
    }

    /// Takes note of the sockets of drops, by their inode numbers. The processes of known sockets are confirmed.
    pub(crate) fn want_processes(&mut self, inodes: impl IntoIterator<Item = u64>) {
        let Some(sockets) = &mut self.sockets else { return };
        let now = Instant::now();
        inodes.into_iter().for_each(|inode| sockets.want(inode, now));
    }

    /// Searches the processes of the sockets of which note was taken, if the last search was not too recent: for at most
    /// 50 ms, and at most a twentieth of all time with [`Search::Sparing`].
    pub(crate) fn search_processes(&mut self) {
        if let Some(sockets) = &mut self.sockets {
            sockets.search(Instant::now());
        }
    }

    /// Does the same, however recent the last search was.
    pub(crate) fn search_last_processes(&mut self) {
        if let Some(sockets) = &mut self.sockets {
            sockets.search_at_once(Instant::now());
        }
    }

    /// The process that has this socket open: of several the one with the lowest id, which is mostly the one that opened
    /// it. Absent where none is known for certain. The caller takes note of the socket first.
    pub(crate) fn process_of_socket(&mut self, inode: u64) -> Option<Arc<Process>> {
        self.sockets.as_mut()?.process(inode)
    }

    /// The owner of a process. It can be more exact than that of the process's cgroup id on a hybrid host, where a
    /// container may be only in hierarchies of cgroup v1.
    pub(crate) fn of_process(&mut self, process: &process::Process) -> Option<NamedOwner> {
        let path = process.cgroup.as_deref()?;
        Some(self.named(path.into(), process.owner.clone()))
    }

    /// The process with the lowest id whose owner is wanted, in any hierarchy of control groups. Looks at all processes.
    pub(crate) fn process_owned_by(&mut self, wanted: impl Fn(&NamedOwner) -> bool) -> Option<u32> {
        let proc = Path::new("/proc");
        pids(proc).into_iter().find(|pid| {
            let process = Folder::open(proc, *pid).and_then(|folder| folder.process());
            process.and_then(|process| self.of_process(&process)).is_some_and(|owner| wanted(&owner))
        })
    }

    /// Why some owners are unknown, in words; empty if nothing hinders the lookups so far.
    pub fn limits(&self) -> Vec<String> {
        let of_sockets = self.sockets.as_ref().and_then(Sockets::limit).map(str::to_owned);
        let of_namespaces = self.residents.iter().filter_map(Residents::limits);
        let mut limits: Vec<_> = self.cgroups.limits().into_iter().chain(of_namespaces).chain(of_sockets).collect();
        // Where /proc hides processes, neither namespaces nor sockets have theirs.
        limits.dedup();
        limits
    }

    fn named(&mut self, cgroup: Arc<str>, owner: Owner) -> NamedOwner {
        let pod = owner.pod.as_deref().and_then(|uid| self.pods.pod(uid));
        let id = owner.container.as_ref().map(|container| container.id.as_str());
        let of_pod = id.filter(|_| owner.pod.is_some()).and_then(|id| self.pods.container(id));
        // The runtime's own name of a pod's container would only repeat the pod's.
        let container = of_pod.or_else(|| id.filter(|_| pod.is_none()).and_then(|id| self.stores.name(id)));
        NamedOwner { cgroup, owner, pod, container }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::UdpSocket;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::identity::container::Container;
    use crate::identity::fixture::{RealCgroup, Tree};
    use crate::identity::netns::ByInode;
    use crate::identity::process::Bounds;
    use crate::identity::text;

    const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";
    const UID: &str = "5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a";

    fn owners(tree: &Tree) -> Owners {
        let pods = Pods::of(tree.path("pods"), tree.path("containers"));
        Owners { pods, stores: Stores::of(tree.path("docker"), Vec::new()), ..Owners::default() }
    }

    fn shown(owners: &mut Owners, path: &str) -> String {
        owners.named(path.into(), container::owner(path)).to_string()
    }

    #[test]
    fn most_exact_name_is_shown() {
        let tree = Tree::new();
        let mut owners = owners(&tree);
        let (in_pod, docker) = (format!("/kubepods/pod{UID}/{ID}"), format!("/docker/{ID}"));
        assert_eq!(shown(&mut owners, &format!("/kubepods/pod{UID}")), format!("pod {UID}"));
        assert_eq!(shown(&mut owners, &in_pod), format!("pod {UID}/3f4e8a1b2c3d"));
        assert_eq!(shown(&mut owners, &docker), "3f4e8a1b2c3d");
        assert_eq!(shown(&mut owners, "/system.slice/ssh.service"), "ssh.service");
        assert_eq!(shown(&mut owners, "/system.slice"), "/system.slice");

        tree.folder(&format!("pods/shop_web-7d9f_{UID}"));
        tree.write(&format!("docker/{ID}/config.v2.json"), "{\"Name\":\"/db\"}");
        let mut owners = super::tests::owners(&tree);
        assert_eq!(shown(&mut owners, &format!("/kubepods/pod{UID}")), "shop/web-7d9f");
        assert_eq!(shown(&mut owners, &in_pod), "shop/web-7d9f/3f4e8a1b2c3d");
        assert_eq!(shown(&mut owners, &docker), "db");
        tree.write(&format!("containers/web-7d9f_shop_nginx-{ID}.log"), "");
        assert_eq!(shown(&mut super::tests::owners(&tree), &in_pod), "shop/web-7d9f/nginx");
    }

    #[test]
    fn owners_beyond_the_bound_are_forgotten() {
        let tree = Tree::new();
        let mut owners = owners(&tree);
        owners.known = Recent::new(100);
        for id in 0..10_000 {
            let path = format!("/system.slice/{id}.service");
            let named = owners.named(path.as_str().into(), container::owner(&path));
            owners.known.insert(id, named);
            assert_eq!(owners.of_cgroup(id).map(|owner| &*owner.cgroup), Some(&*path));
        }
        assert_eq!(owners.known.len(), 100);
    }

    proptest! {
        #[test]
        fn name_of_any_path_is_presentable(path in "/([a-z.@-]|\\PC|.){0,60}(\\.scope|\\.service)?") {
            let tree = Tree::new();
            let path = text::path(&path);
            let name = shown(&mut owners(&tree), &path);
            prop_assert!(text::is_presentable(&name), "{name:?} of {path:?}");
        }
    }

    /// A process in a network namespace of its own that has a socket open as its standard input.
    fn child_with(socket: UdpSocket) -> Result<(Child, u32), String> {
        let stdin = std::os::fd::OwnedFd::from(socket);
        let mut command = Command::new("unshare");
        let mut child =
            command.args(["--net", "sleep", "60"]).stdin(stdin).spawn().map_err(|error| error.to_string())?;
        let (own, start) = (netns::own().unwrap(), Instant::now());
        while start.elapsed() < Duration::from_secs(20) {
            let target = netns::parse_target(&format!("pid:{}", child.id())).map_err(|error| error.to_string())?;
            let name = fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap_or_default();
            if target.inum != own && name == "sleep\n" {
                return Ok((child, target.inum));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = (child.kill(), child.wait());
        Err("no network namespace could be made".into())
    }

    #[test]
    fn running_kernel_names_the_owner_of_a_socket() {
        const NAME: &str = "running_kernel_names_the_owner_of_a_socket";
        let mut owners = Owners::new().naming(true, None);
        let made = owners.cgroups.mount().map_err(ToString::to_string);
        let made = made.and_then(|mount| RealCgroup::new(mount, &format!("docker-{ID}.scope")));
        let cgroup = match made {
            Ok(cgroup) => cgroup,
            Err(reason) => return crate::skipped(NAME, &reason),
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&socket).unwrap().st_ino;
        let (mut child, inum) = match child_with(socket) {
            Ok(made) => made,
            Err(reason) => return crate::skipped(NAME, &reason),
        };
        let moved = cgroup.add(child.id());
        let by_id = owners.of_cgroup(cgroup.id()).cloned();
        let holders = process::find(Path::new("/proc"), [inode], Bounds::default());
        let of_namespace = owners.of_namespace(NetnsId { cookie: None, inum }, &ByInode);
        child.kill().unwrap();
        child.wait().unwrap();
        if let Err(error) = moved {
            return crate::skipped(NAME, &format!("cannot move a process into a cgroup: {error}"));
        }
        let named = by_id.unwrap();
        assert_eq!(&*named.cgroup, cgroup.path());
        assert_eq!(named.owner.container.as_ref().map(Container::short), Some("3f4e8a1b2c3d"));
        let process = &holders.by_inode[&inode].process;
        assert_eq!((process.pid, process.comm.as_deref()), (child.id(), Some("sleep")));
        assert_eq!(owners.of_process(process), Some(named.clone()));
        assert_eq!(of_namespace, Some(named));
    }
}
