use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A folder of folders, removed when the value is dropped.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("droptrace-cgroups-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Makes a folder and returns its number.
    fn make(&self, path: &str) -> u64 {
        let folder = self.0.join(path);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cgroup.procs"), "").unwrap();
        fs::metadata(folder).unwrap().ino()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn walk_finds_cgroups_of_all_levels() {
    let tree = Tree::new();
    let service = tree.make("system.slice/ssh.service");
    let container = tree.make("docker/0123/init.scope");
    let slice = fs::metadata(tree.0.join("system.slice")).unwrap().ino();
    let mut cgroups = Cgroups::at(&tree.0);
    assert_eq!(cgroups.path(service).as_deref(), Some("/system.slice/ssh.service"));
    assert_eq!(cgroups.path(container).as_deref(), Some("/docker/0123/init.scope"));
    assert_eq!(cgroups.path(slice).as_deref(), Some("/system.slice"));
}

#[test]
fn roots_and_unknown_cgroups_have_no_path() {
    let tree = Tree::new();
    tree.make("a");
    let mut cgroups = Cgroups::at(&tree.0);
    let top = fs::metadata(&tree.0).unwrap().ino();
    assert_eq!([0, ROOT, top, u64::MAX].map(|id| cgroups.path(id)), [None, None, None, None]);
}

#[test]
fn removed_cgroup_keeps_its_path() {
    let tree = Tree::new();
    let id = tree.make("gone");
    let mut cgroups = Cgroups::at(&tree.0);
    assert!(cgroups.path(id).is_some());
    fs::remove_dir_all(tree.0.join("gone")).unwrap();
    let later = Instant::now() + 2 * WALK_INTERVAL;
    assert_eq!(cgroups.path_at(id, later).as_deref(), Some("/gone"));
}

#[test]
fn walks_have_an_interval() {
    let tree = Tree::new();
    let mut cgroups = Cgroups::at(&tree.0);
    let start = Instant::now();
    assert_eq!(cgroups.path_at(u64::MAX, start), None);
    let id = tree.make("new");
    assert_eq!(cgroups.path_at(id, start + WALK_INTERVAL / 2), None);
    assert_eq!(cgroups.path_at(id, start + 100 * WALK_INTERVAL).as_deref(), Some("/new"));
}

#[test]
fn path_of_any_bytes_can_be_shown() {
    let tree = Tree::new();
    let id = tree.make("a\u{1b}[2J\u{202e}b");
    let raw = tree.0.join(std::ffi::OsStr::from_bytes(b"c\xff"));
    fs::create_dir(&raw).unwrap();
    let mut cgroups = Cgroups::at(&tree.0);
    assert_eq!(cgroups.path(id).as_deref(), Some("/a\u{fffd}[2J\u{fffd}b"));
    assert_eq!(cgroups.path(fs::metadata(&raw).unwrap().ino()).as_deref(), Some("/c\u{fffd}"));
}

#[test]
fn bounded_walk_visits_upper_levels_first() {
    let tree = Tree::new();
    for name in ["a/deep/deeper", "b", "c"] {
        tree.make(name);
    }
    let mut visited = Vec::new();
    let walk = walk::walk(&tree.0, 3, |_, path| visited.push(path.to_owned()));
    visited.sort();
    assert_eq!((walk.cgroups, walk.is_cut), (3, true));
    assert_eq!(visited, [Path::new("a"), Path::new("b"), Path::new("c")]);
    assert_eq!(walk::walk(&tree.0, 5, |_, _| {}), walk::Walk { cgroups: 5, is_cut: false });
}

#[test]
fn partial_hierarchy_is_a_limit() {
    let tree = Tree::new();
    let limits = Cgroups::at(&tree.0).limits().unwrap();
    assert!(limits.contains("only a part of the cgroup hierarchy"), "{limits}");
    let limits = Cgroups::of(Err(NoHierarchy::OnlyV1)).limits().unwrap();
    assert!(limits.contains("only cgroup v1"), "{limits}");
    let gone = Cgroups::at(Path::new("/no/such/folder"));
    assert!(gone.limits().unwrap().contains("No such file"));
}

/// A cgroup below the mounted hierarchy, removed when the value is dropped.
struct Real(PathBuf);

impl Real {
    /// It is `None`, with the reason, if none can be made here.
    fn new(name: &str) -> Result<Self, String> {
        let hierarchy = found().map_err(|error| error.to_string())?;
        let folder = hierarchy.mount.join(format!("droptrace-{name}-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("cannot make a cgroup: {error}"))?;
        Ok(Self(folder))
    }

    fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }

    fn path(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_str().unwrap())
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn running_kernel_resolves_ids() {
    const NAME: &str = "running_kernel_resolves_ids";
    let cgroup = match Real::new("ids") {
        Ok(cgroup) => cgroup,
        Err(reason) => return crate::skipped(NAME, &reason),
    };
    let (id, path) = (cgroup.id(), cgroup.path());
    let mut by_walk = Cgroups::new();
    by_walk.hierarchy.as_mut().unwrap().opener = None;
    assert_eq!(by_walk.path(id).as_deref(), Some(&*path));
    let mut by_id = Cgroups::new();
    if by_id.hierarchy.as_ref().unwrap().opener.is_none() {
        return crate::skipped(NAME, "cgroups cannot be opened by their ids here");
    }
    assert_eq!(by_id.path(id).as_deref(), Some(&*path));
    drop(cgroup);
    assert_eq!(by_id.path(id).as_deref(), Some(&*path));
    assert_eq!(Cgroups::new().path(id), None);
}
