//! Namespaces of processes in fixture trees.

use std::num::NonZeroU64;

use super::group::common_length;
use super::*;
use crate::identity::fixture::Tree;
use crate::identity::netns::ByInode;

const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000deadbeef";
const POD: &str = "/kubepods/burstable/pod5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a";
const HOST: u32 = 1;

fn tree(processes: &[(u32, u32, &str)]) -> Tree {
    let tree = Tree::new();
    for (pid, netns, cgroup) in [(1, HOST, "/init.scope")].iter().chain(processes) {
        tree.write(&format!("{pid}/comm"), "name\n");
        tree.write(&format!("{pid}/cgroup"), &format!("0::{cgroup}\n"));
        tree.link(&format!("{pid}/ns/net"), &format!("net:[{netns}]"));
    }
    tree
}

fn owner_in(tree: &Tree, inum: u32) -> Option<Arc<Resident>> {
    Residents::of(tree.root()).owner(NetnsId { cookie: None, inum }, &ByInode)
}

#[test]
fn container_owns_its_namespace() {
    let (scope, inner) = (format!("/docker/{ID}"), format!("/docker/{ID}/system.slice/a.service"));
    // The first process looks into the namespace from the host (`nsenter`).
    let shell = "/user.slice/user-0.slice/session-3.scope";
    let tree = tree(&[(9, 5, shell), (10, 5, &inner), (11, 5, &scope), (12, HOST, &scope)]);
    let found = owner_in(&tree, 5).unwrap();
    assert_eq!((found.process.pid, found.processes, found.others), (10, 2, 0));
    assert_eq!((found.cgroup.as_deref(), found.owner.container.as_ref().unwrap().id.as_str()), (Some(&*scope), ID));
    assert_eq!((owner_in(&tree, HOST), owner_in(&tree, 6)), (None, None));
}

#[test]
fn pod_owns_the_namespace_of_its_containers() {
    for containers in [&[ID][..], &[ID, OTHER]] {
        let paths: Vec<_> = containers.iter().map(|id| format!("{POD}/{id}")).collect();
        let processes: Vec<_> = (10..).zip(&paths).map(|(pid, path)| (pid, 5, path.as_str())).collect();
        let found = owner_in(&tree(&processes), 5).unwrap();
        assert_eq!((found.cgroup.as_deref(), &found.owner.container), (Some(POD), &None));
        assert_eq!(found.owner.pod.as_deref(), Some("5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a"));
    }
    let nested = format!("{POD}/{OTHER}/docker/{ID}");
    let found = owner_in(&tree(&[(10, 5, &nested)]), 5).unwrap();
    assert_eq!(found.owner.container.as_ref().unwrap().id, ID);
}

#[test]
fn node_in_a_container_owns_the_namespace_of_its_pods() {
    let (node, pod) = (format!("/docker/{OTHER}/init.scope"), format!("/docker/{OTHER}/kubelet{POD}/{ID}"));
    let found = owner_in(&tree(&[(10, 5, &pod), (11, 5, &node)]), 5).unwrap();
    assert_eq!((found.owner.container.as_ref().unwrap().id.as_str(), found.others), (OTHER, 0));
}

#[test]
fn further_containers_are_counted() {
    let paths = [ID, OTHER, ID].map(|id| format!("/docker/{id}"));
    let found = owner_in(&tree(&[(10, 5, &paths[0]), (11, 5, &paths[1]), (12, 5, &paths[2])]), 5).unwrap();
    assert_eq!((found.owner.container.as_ref().unwrap().id.as_str(), found.others, found.processes), (ID, 1, 3));
}

#[test]
fn unit_may_own_a_namespace() {
    let tree = tree(&[(10, 5, "/system.slice/a.service/one"), (11, 5, "/system.slice/a.service/two"), (12, 6, "/")]);
    let found = owner_in(&tree, 5).unwrap();
    assert_eq!(
        (found.cgroup.as_deref(), found.owner.unit.as_deref()),
        (Some("/system.slice/a.service"), Some("a.service"))
    );
    let found = owner_in(&tree, 6).unwrap();
    assert!(found.cgroup.is_none() && found.owner == Owner::default() && found.process.pid == 12);
}

#[test]
fn kernel_threads_show_the_host_where_the_first_process_may_not_be_read() {
    let scope = format!("/docker/{ID}");
    let tree = tree(&[(2, HOST, "/"), (10, HOST, &scope), (11, 5, &scope)]);
    tree.remove("1");
    assert_eq!(owner_in(&tree, 5), None, "the second process may be any");
    tree.write("2/cmdline", "");
    assert_eq!((owner_in(&tree, HOST), owner_in(&tree, 5).unwrap().process.pid), (None, 11));
}

#[test]
fn containers_of_the_whole_run_count() {
    let alone = |path: &str| Resident::clone(&owner_in(&tree(&[(10, 5, path)]), 5).unwrap());
    let (one, other) = (alone(&format!("/docker/{ID}")), alone(&format!("/docker/{OTHER}")));
    let shell = alone("/user.slice/user-0.slice/session-3.scope");
    assert!(one.is_single_container() && !shell.is_single_container());
    assert_eq!((one.clone().after(&one), one.clone().after(&shell)), (one.clone(), one.clone()));
    assert_eq!(shell.after(&one), one, "an ended container keeps its namespace");
    let both = other.after(&one);
    assert!(!both.is_single_container() && !one.after(&both).is_single_container());
    let (first, second) = (alone(&format!("{POD}/{ID}")), alone(&format!("{POD}/{OTHER}")));
    assert!(second.after(&first).is_single_container(), "the pod is the same");
}

#[test]
fn owner_stays_known_by_cookie_and_searches_have_an_interval() {
    let (path, now) = (format!("/docker/{ID}"), Instant::now());
    let tree = tree(&[(10, 5, &path)]);
    let mut residents = Residents::of(tree.root());
    let (named, unnamed) = (NetnsId { cookie: NonZeroU64::new(7), inum: 5 }, NetnsId { cookie: None, inum: 5 });
    let resident = residents.owner_at(unnamed, &ByInode, now).unwrap();
    residents.known.insert(named, resident);
    tree.remove("10");
    assert!(residents.owner_at(unnamed, &ByInode, now).is_some());
    let later = now + 100 * SEARCH_INTERVAL;
    assert_eq!(residents.owner_at(unnamed, &ByInode, later), None);
    assert!(residents.owner_at(named, &ByInode, later).is_some());
}

#[test]
fn number_of_an_earlier_namespace_has_no_owner() {
    // The link of this fixture leads nowhere, as does that of a process that ended.
    let (path, cookie) = (format!("/docker/{ID}"), NonZeroU64::new(7));
    let tree = tree(&[(10, 5, &path)]);
    assert_eq!(Residents::of(tree.root()).owner(NetnsId { cookie, inum: 5 }, &ByInode), None);
}

/// The namespace and the process of a container are gone, and others have their numbers.
#[test]
fn later_namespace_with_the_number_of_an_ended_one_has_its_own_owner() {
    let (path, other, now) = (format!("/docker/{ID}"), format!("/docker/{OTHER}"), Instant::now());
    let tree = tree(&[(10, 5, &path)]);
    let mut residents = Residents::of(tree.root());
    let number = NetnsId { cookie: None, inum: 5 };
    let container =
        |resident: Option<Arc<Resident>>| resident.map(|it| it.owner.container.as_ref().unwrap().id.clone());
    assert_eq!(container(residents.owner_at(number, &ByInode, now)).as_deref(), Some(ID));
    tree.remove("10");
    tree.write("10/comm", "name\n");
    tree.write("10/cgroup", &format!("0::{other}\n"));
    tree.link("10/ns/net", "net:[5]");
    let later = now + 100 * SEARCH_INTERVAL;
    assert_eq!(container(residents.owner_at(number, &ByInode, later)).as_deref(), Some(OTHER));
}

#[test]
fn hidden_and_unreadable_processes_are_limits() {
    let hidden = Tree::new();
    hidden.write("30/comm", "own\n");
    let mut residents = Residents::of(hidden.root());
    assert_eq!(residents.owner(NetnsId { cookie: None, inum: 5 }, &ByInode), None);
    assert!(residents.limits().unwrap().contains("hidepid"));
    // The namespace of the host itself is unknown, so that no other can be distinguished from it.
    let unreadable = Tree::new();
    unreadable.write("1/comm", "init\n");
    let mut residents = Residents::of(unreadable.root());
    assert_eq!(residents.owner(NetnsId { cookie: None, inum: 5 }, &ByInode), None);
    assert!(residents.limits().unwrap().contains("CAP_SYS_PTRACE"));
}

#[test]
fn namespaces_beyond_the_bound_are_forgotten() {
    let tree = tree(&[]);
    let mut residents = Residents::of(tree.root());
    let now = Instant::now();
    for inum in 10..10 + 2 * u32::try_from(CAPACITY).unwrap() {
        assert_eq!(residents.owner_at(NetnsId { cookie: None, inum }, &ByInode, now), None, "without a process");
    }
    assert!(residents.answers.len() <= CAPACITY && residents.known.len() <= CAPACITY);
}

#[test]
fn common_parts_are_whole_components() {
    let common = |one: &str, other| one[..common_length(one, other)].to_owned();
    assert_eq!(common("/a/bc/d", "/a/bc/e"), "/a/bc");
    assert_eq!(common("/a/bc", "/a/bd"), "/a");
    assert_eq!(common("/a", "/a"), "/a");
    assert_eq!((common("/a", "/b"), common("/a", ""), common("", "/a")), (String::new(), String::new(), String::new()));
}
