use super::*;
use crate::identity::fixture::{RealCgroup, Tree};

/// Makes a folder with a file, as a cgroup has files, and returns its number.
fn make(tree: &Tree, path: &str) -> u64 {
    tree.write(&format!("{path}/cgroup.procs"), "");
    fs::metadata(tree.path(path)).unwrap().ino()
}

#[test]
fn walk_finds_cgroups_of_all_levels() {
    let tree = Tree::new();
    let service = make(&tree, "system.slice/ssh.service");
    let container = make(&tree, "docker/0123/init.scope");
    let slice = fs::metadata(tree.path("system.slice")).unwrap().ino();
    let mut cgroups = Cgroups::at(tree.root());
    assert_eq!(cgroups.path(service).as_deref(), Some("/system.slice/ssh.service"));
    assert_eq!(cgroups.path(container).as_deref(), Some("/docker/0123/init.scope"));
    assert_eq!(cgroups.path(slice).as_deref(), Some("/system.slice"));
}

#[test]
fn roots_and_unknown_cgroups_have_no_path() {
    let tree = Tree::new();
    make(&tree, "a");
    let mut cgroups = Cgroups::at(tree.root());
    let top = fs::metadata(tree.root()).unwrap().ino();
    assert_eq!([0, ROOT, top, u64::MAX].map(|id| cgroups.path(id)), [None, None, None, None]);
}

#[test]
fn removed_cgroup_keeps_its_path() {
    let tree = Tree::new();
    let id = make(&tree, "gone");
    let mut cgroups = Cgroups::at(tree.root());
    assert!(cgroups.path(id).is_some());
    tree.remove("gone");
    let later = Instant::now() + 2 * WALK_INTERVAL;
    assert_eq!(cgroups.path_at(id, later).as_deref(), Some("/gone"));
}

#[test]
fn cgroups_beyond_the_bound_are_forgotten() {
    let tree = Tree::new();
    let ids: Vec<_> = (0..200).map(|at| make(&tree, &format!("system.slice/{at}.service"))).collect();
    let mut cgroups = Cgroups::at(tree.root());
    cgroups.known = Recent::new(50);
    let now = Instant::now();
    for (at, (id, number)) in (1..).zip(ids.iter().zip(0..)) {
        let path = cgroups.path_at(*id, now + at * 100 * WALK_INTERVAL);
        assert_eq!(path.as_deref(), Some(&*format!("/system.slice/{number}.service")));
        assert!(cgroups.known.len() <= 50);
    }
}

#[test]
fn walks_have_an_interval() {
    let tree = Tree::new();
    let mut cgroups = Cgroups::at(tree.root());
    let start = Instant::now();
    assert_eq!(cgroups.path_at(u64::MAX, start), None);
    let id = make(&tree, "new");
    assert_eq!(cgroups.path_at(id, start + WALK_INTERVAL / 2), None);
    assert_eq!(cgroups.path_at(id, start + 100 * WALK_INTERVAL).as_deref(), Some("/new"));
}

#[test]
fn path_of_any_bytes_can_be_shown() {
    let tree = Tree::new();
    let id = make(&tree, "a\u{1b}[2J\u{202e}b");
    let raw = tree.root().join(std::ffi::OsStr::from_bytes(b"c\xff"));
    fs::create_dir(&raw).unwrap();
    let mut cgroups = Cgroups::at(tree.root());
    assert_eq!(cgroups.path(id).as_deref(), Some("/a\u{fffd}[2J\u{fffd}b"));
    assert_eq!(cgroups.path(fs::metadata(&raw).unwrap().ino()).as_deref(), Some("/c\u{fffd}"));
}

#[test]
fn bounded_walk_visits_upper_levels_first() {
    let tree = Tree::new();
    for name in ["a/deep/deeper", "b", "c"] {
        make(&tree, name);
    }
    let mut visited = Vec::new();
    let walk = walk::walk(tree.root(), 3, |_, path| visited.push(path.to_owned()));
    visited.sort();
    assert_eq!((walk.cgroups, walk.is_cut), (3, true));
    assert_eq!(visited, [Path::new("a"), Path::new("b"), Path::new("c")]);
    assert_eq!(walk::walk(tree.root(), 5, |_, _| {}), walk::Walk { cgroups: 5, is_cut: false });
}

#[test]
fn partial_hierarchy_is_a_limit() {
    let tree = Tree::new();
    let limits = Cgroups::at(tree.root()).limits().unwrap();
    assert!(limits.contains("only a part of the cgroup hierarchy"), "{limits}");
    let limits = Cgroups::of(Err(NoHierarchy::OnlyV1)).limits().unwrap();
    assert!(limits.contains("only cgroup v1"), "{limits}");
    let gone = Cgroups::at(Path::new("/no/such/folder"));
    assert!(gone.limits().unwrap().contains("No such file"));
}

#[test]
fn running_kernel_resolves_ids() {
    const NAME: &str = "running_kernel_resolves_ids";
    let mut by_id = Cgroups::new();
    let made = by_id.mount().map_err(ToString::to_string).and_then(|mount| RealCgroup::new(mount, "a b"));
    let cgroup = match made {
        Ok(cgroup) => cgroup,
        Err(reason) => return crate::skipped(NAME, &reason),
    };
    let (id, path) = (cgroup.id(), cgroup.path().to_owned());
    let mut by_walk = Cgroups::new();
    by_walk.hierarchy.as_mut().unwrap().opener = None;
    assert_eq!(by_walk.path(id).as_deref(), Some(&*path));
    if by_id.hierarchy.as_ref().unwrap().opener.is_none() {
        return crate::skipped(NAME, "cgroups cannot be opened by their ids here");
    }
    assert_eq!(by_id.path(id).as_deref(), Some(&*path));
    drop(cgroup);
    assert_eq!(by_id.path(id).as_deref(), Some(&*path));
    assert_eq!(Cgroups::new().path(id), None);
}
