//! The names of pods and their containers, from the folders of logs that the kubelet makes on each node. No request goes
//! to the API of Kubernetes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recent::Recent;
use super::text;

/// `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log` (`podLogsRootDirectory` and `BuildPodLogsDirectory`,
/// `pkg/kubelet/kuberuntime` of Kubernetes).
const PODS: &str = "/var/log/pods";
/// `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`, symbolic links to the former (`LogSymlink`, same place). Names
/// of more than 251 bytes are cut there, and so lose the id.
const CONTAINERS: &str = "/var/log/containers";
/// The least time between two readings, so that a flood of unknown UIDs does not read the folders each time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The greatest number of known pods and of known containers. A node has some hundred at most.
const CAPACITY: usize = 4096;
/// The greatest number of entries of a folder that one reading looks at.
const MOST_ENTRIES: usize = 16_384;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pod {
    /// The namespace of Kubernetes.
    pub(crate) namespace: String,
    /// The name of the pod.
    pub(crate) name: String,
}

/// Finds the names of pods by their UIDs, and the names of their containers by ids. A name stays known after the end
/// of its pod. The folders are read when a UID or an id is unknown, at most once a second.
#[derive(Debug)]
pub(crate) struct Pods {
    /// The folder of pods, and that of containers.
    folders: [PathBuf; 2],
    by_uid: Recent<String, Arc<Pod>>,
    containers: Recent<String, Arc<str>>,
    read_at: Option<Instant>,
}

impl Default for Pods {
    fn default() -> Self {
        Self::new()
    }
}

impl Pods {
    /// The constructor reads nothing.
    pub(crate) fn new() -> Self {
        Self::of(PODS.into(), CONTAINERS.into())
    }

    pub(super) fn of(pods: PathBuf, containers: PathBuf) -> Self {
        let folders = [pods, containers];
        Self { folders, by_uid: Recent::new(CAPACITY), containers: Recent::new(CAPACITY), read_at: None }
    }

    /// The pod with this UID; for a static pod, the hash of its definition. It is absent on a host without a kubelet, and
    /// for a pod that ended before it was looked up.
    pub(crate) fn pod(&mut self, uid: &str) -> Option<Arc<Pod>> {
        self.pod_at(uid, Instant::now())
    }

    fn pod_at(&mut self, uid: &str, now: Instant) -> Option<Arc<Pod>> {
        if self.by_uid.get(uid).is_none() {
            self.refresh(now);
        }
        self.by_uid.get(uid).cloned()
    }

    /// The name of a pod's container with this id. It is absent for the container that only holds the pod's namespaces
    /// (`pause`), which has no log.
    pub(crate) fn container(&mut self, id: &str) -> Option<Arc<str>> {
        self.container_at(id, Instant::now())
    }

    fn container_at(&mut self, id: &str, now: Instant) -> Option<Arc<str>> {
        if self.containers.get(id).is_none() {
            self.refresh(now);
        }
        self.containers.get(id).cloned()
    }

    fn refresh(&mut self, now: Instant) {
        if self.read_at.is_some_and(|at| now.saturating_duration_since(at) < REFRESH_INTERVAL) {
            return;
        }
        self.read_at = Some(now);
        let [pods, containers] = &self.folders;
        for (uid, pod) in names(pods).filter_map(|name| parse_pod(&name)) {
            if self.by_uid.get(&uid).is_none() {
                self.by_uid.insert(uid, Arc::new(pod));
            }
        }
        for (id, container) in names(containers).filter_map(|name| parse_link(&name)) {
            if self.containers.get(&id).is_none() {
                self.containers.insert(id, container.into());
            }
        }
    }
}

/// Without such a folder nothing has a name.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_ENTRIES);
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// `NAMESPACE_POD_UID`. None of the three has a `_`.
fn parse_pod(folder: &str) -> Option<(String, Pod)> {
    let (pod, uid) = folder.rsplit_once('_')?;
    let (namespace, name) = pod.split_once('_')?;
    let is_uid = (1..=64).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let pod = Pod { namespace: text::name(namespace)?, name: text::name(name)? };
    is_uid.then(|| (uid.to_owned(), pod))
}

/// `POD_NAMESPACE_CONTAINER-ID.log`.
fn parse_link(link: &str) -> Option<(String, String)> {
    let (names, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
    let (_pod_and_namespace, container) = names.rsplit_once('_')?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((id.to_owned(), text::name(container)?)).filter(|_| is_id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;
    use crate::identity::fixture::Tree;

    const UID: &str = "5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a";
    const HASH: &str = "0123456789abcdef0123456789abcdef";
    const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";

    fn of(tree: &Tree) -> Pods {
        Pods::of(tree.path("pods"), tree.path("containers"))
    }

    fn kubelet() -> Tree {
        let tree = Tree::new();
        tree.write(&format!("pods/shop_web-7d9f_{UID}/nginx/0.log"), "");
        tree.write(&format!("pods/kube-system_etcd-node1_{HASH}/etcd/3.log"), "");
        tree.write("pods/not-a-pod/x", "");
        tree.folder("containers");
        let link = tree.path(&format!("containers/web-7d9f_shop_nginx-{ID}.log"));
        symlink(tree.path(&format!("pods/shop_web-7d9f_{UID}/nginx/0.log")), link).unwrap();
        tree
    }

    #[test]
    fn folders_of_the_kubelet_name_pods_and_containers() {
        let tree = kubelet();
        let mut pods = of(&tree);
        let expected = |namespace: &str, name: &str| Pod { namespace: namespace.into(), name: name.into() };
        assert_eq!(pods.pod(UID).as_deref(), Some(&expected("shop", "web-7d9f")));
        assert_eq!(pods.pod(HASH).as_deref(), Some(&expected("kube-system", "etcd-node1")));
        assert_eq!(pods.container(ID).as_deref(), Some("nginx"));
        assert_eq!((pods.pod("x"), pods.container(&"0".repeat(64))), (None, None));
    }

    #[test]
    fn pod_keeps_its_name_after_its_end_and_later_ones_are_found() {
        let (tree, now) = (kubelet(), Instant::now());
        let mut pods = of(&tree);
        assert!(pods.pod_at(UID, now).is_some());
        tree.remove("pods");
        let other = UID.replace('5', "6");
        tree.folder(&format!("pods/shop_db-0_{other}"));
        assert_eq!(pods.pod_at(&other, now + REFRESH_INTERVAL / 2), None);
        assert!(pods.pod_at(&other, now + REFRESH_INTERVAL).is_some());
        assert!(pods.pod_at(UID, now + REFRESH_INTERVAL).is_some());
    }

    #[test]
    fn host_without_a_kubelet_has_no_pods() {
        let mut pods = of(&Tree::new());
        assert_eq!((pods.pod(UID), pods.container(ID)), (None, None));
    }

    proptest! {
        #[test]
        fn any_entry_yields_presentable_names(entry in "([a-z_-]|\\PC|.){0,100}", id in "[0-9a-f]{64}") {
            let pod = parse_pod(&entry).map(|(_, pod)| pod);
            let link = parse_link(&format!("{entry}-{id}.log")).map(|(_, container)| container);
            let names = pod.into_iter().flat_map(|pod| [pod.namespace, pod.name]).chain(link);
            for name in names {
                prop_assert!(text::is_presentable(&name), "{name:?} of {entry:?}");
            }
        }
    }
}
