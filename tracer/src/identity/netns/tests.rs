use std::fs::File;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::folder::Folders;
use super::*;

/// The interval between readings; it is short, so that a reading soon finds changes without an event.
const SHORT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of names, removed when the value is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = Self::absent();
        std::fs::create_dir_all(&folder.0).unwrap();
        folder
    }

    fn absent() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("droptrace-netns-{}-{number}", std::process::id())))
    }

    /// A symbolic link leads to nsfs as a bind mount would, and needs no capability.
    fn link(&self, name: &str, target: &str) {
        symlink(target, self.0.join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Gives each namespace the cookie that was set. All their inode numbers are the same.
#[derive(Clone, Default)]
struct Fake(Arc<AtomicU64>);

impl Fake {
    fn says(&self, cookie: u64) {
        self.0.store(cookie, Ordering::Relaxed);
    }
}

impl Identify for Fake {
    fn identify(&self, namespace: BorrowedFd<'_>) -> io::Result<NetnsId> {
        let cookie = NonZeroU64::new(self.0.load(Ordering::Relaxed));
        if cookie.is_none() {
            return Err(io::Error::other("no cookie"));
        }
        Ok(NetnsId { cookie, ..ByInode.identify(namespace)? })
    }
}

/// Gives each namespace another cookie at each call, so a name that both a reading and an event show is noted twice.
#[derive(Default)]
struct AlwaysAnother(AtomicU64);

impl Identify for AlwaysAnother {
    fn identify(&self, namespace: BorrowedFd<'_>) -> io::Result<NetnsId> {
        let cookie = NonZeroU64::new(self.0.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(NetnsId { cookie, ..ByInode.identify(namespace)? })
    }
}

fn id(cookie: u64) -> NetnsId {
    NetnsId { cookie: NonZeroU64::new(cookie), inum: own().unwrap() }
}

fn name_of(names: &Names, cookie: u64) -> Option<String> {
    names.name(id(cookie)).map(|name| name.to_string())
}

fn eventually(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "still waiting");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_form_of_target_leads_to_the_own_namespace() {
    let own = own().unwrap();
    assert!(own > 0);
    let pid = format!("pid:{}", std::process::id());
    for given in ["self", "/proc/self/ns/net", "/proc/thread-self/ns/net", &own.to_string(), &pid] {
        let target = parse_target(given).unwrap();
        assert_eq!(target.inum, own, "{given}");
        let file = target.namespace().expect(given);
        assert_eq!(ByInode.identify(file).unwrap(), NetnsId { cookie: None, inum: own }, "{given}");
    }
    assert_eq!(Target::own().unwrap().inum, own);
}

#[test]
fn unreachable_inode_number_is_accepted() {
    let target = parse_target("1").unwrap();
    assert_eq!((target.inum, target.file.is_none()), (1, true));
    assert_eq!(target.namespace().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn wrong_targets_have_precise_errors() {
    for (given, expected) in [
        ("no-such-name", "cannot open /run/netns/no-such-name"),
        ("/no/such/path", "cannot open /no/such/path"),
        ("4294967296", "cannot open /run/netns/4294967296"),
        ("0", "cannot open /run/netns/0"),
        ("", "no network namespace ``"),
        ("pid:", "the number of a process"),
        ("pid:-1", "the number of a process"),
        ("pid:4294967295", "cannot open /proc/4294967295/ns/net"),
        ("/proc/self/ns/mnt", "/proc/self/ns/mnt is another kind of file"),
        ("/proc/self/status", "/proc/self/status is another kind of file"),
        ("/", "/ is another kind of file"),
    ] {
        let error = parse_target(given).unwrap_err().to_string();
        assert!(error.contains(expected), "{given}: {error}");
    }
}

#[test]
fn names_by_inode_are_read_once_a_second_and_forgotten_with_their_file() {
    let folder = Folder::new();
    folder.link("not-network", "/proc/self/ns/mnt");
    let mut namespaces = Namespaces::of(folder.paths());
    let (own, start) = (own().unwrap(), Instant::now());
    let mut name_at = |millis| namespaces.name_at(own, start + Duration::from_millis(millis)).map(|it| it.to_string());
    assert_eq!(name_at(0), None);
    folder.link("blue", OWN);
    assert_eq!(name_at(999), None);
    assert_eq!(name_at(1000).as_deref(), Some("blue"));
    folder.remove("blue");
    assert_eq!(name_at(1001), None, "the name is gone");
    folder.link("green", OWN);
    assert_eq!(name_at(2000).as_deref(), Some("green"));
    folder.remove("green");
    folder.link("green", "/proc/self/ns/mnt");
    assert_eq!(name_at(3000), None, "the name stands for another inode");
}

#[test]
fn names_without_cookie_are_those_by_inode() {
    let folder = Folder::new();
    folder.link("blue", OWN);
    let names = Names::with(8, Namespaces::of(folder.paths()));
    let namespace = NetnsId { cookie: None, inum: own().unwrap() };
    assert_eq!(names.name(namespace).as_deref(), Some("blue"));
    assert_eq!(name_of(&names, 1), None);
    assert_eq!(names.name(NetnsId { cookie: None, inum: 1 }), None);
}

#[test]
fn reused_inode_number_keeps_both_names_apart() {
    let (folder, fake, names) = (Folder::new(), Fake::default(), Names::new());
    let mut folders = Folders::new(folder.paths(), fake.clone());
    fake.says(4870);
    folder.link("blue", OWN);
    folders.read(&names);
    folder.remove("blue");
    fake.says(812);
    folder.link("green", OWN);
    folders.read(&names);
    assert_eq!(name_of(&names, 4870).as_deref(), Some("blue"));
    assert_eq!(name_of(&names, 812).as_deref(), Some("green"));
}

#[test]
fn name_given_again_belongs_to_both_namespaces() {
    let (folder, fake, names) = (Folder::new(), Fake::default(), Names::new());
    let mut folders = Folders::new(folder.paths(), fake.clone());
    for cookie in [1, 2] {
        fake.says(cookie);
        folder.link("blue", OWN);
        folders.appeared(&folder.0, "blue".as_ref(), &names, Instant::now());
        folder.remove("blue");
        folders.disappeared(&folder.0, "blue".as_ref());
    }
    assert_eq!([1, 2].map(|cookie| name_of(&names, cookie)), ["blue", "blue"].map(|name| Some(name.to_owned())));
    // A second name of a namespace changes nothing.
    folder.link("red", OWN);
    folders.read(&names);
    assert_eq!(name_of(&names, 2).as_deref(), Some("blue"));
}

/// `ip netns add` makes a file first, and mounts the namespace on it later, without any event.
#[test]
fn file_that_becomes_a_namespace_is_looked_at_again() {
    let (folder, fake, names) = (Folder::new(), Fake::default(), Names::new());
    let mut folders = Folders::new(folder.paths(), fake.clone());
    fake.says(1);
    File::create(folder.0.join("blue")).unwrap();
    let start = Instant::now();
    folders.appeared(&folder.0, "blue".as_ref(), &names, start);
    let due = folders.next_look().unwrap();
    assert!(due > start && due <= start + Duration::from_millis(10));
    folders.look_again(&names, due);
    assert!(names.is_empty());
    folder.remove("blue");
    folder.link("blue", OWN);
    let due = folders.next_look().unwrap();
    folders.look_again(&names, due);
    assert_eq!(name_of(&names, 1).as_deref(), Some("blue"));
    assert_eq!(folders.next_look(), None);
}

#[test]
fn file_that_stays_a_file_is_left_to_the_next_reading() {
    let (folder, fake, names) = (Folder::new(), Fake::default(), Names::new());
    let mut folders = Folders::new(folder.paths(), fake.clone());
    fake.says(1);
    File::create(folder.0.join("file")).unwrap();
    let start = Instant::now();
    folders.appeared(&folder.0, "file".as_ref(), &names, start);
    let mut last = start;
    while let Some(due) = folders.next_look() {
        last = due;
        folders.look_again(&names, due);
    }
    let waited = last - start;
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(3), "{waited:?}");
    folder.remove("file");
    folder.link("file", OWN);
    folders.read(&names);
    assert_eq!(name_of(&names, 1).as_deref(), Some("file"));
}

#[test]
fn namespace_that_could_not_be_identified_is_asked_again() {
    let (folder, fake, names) = (Folder::new(), Fake::default(), Names::new());
    let mut folders = Folders::new(folder.paths(), fake.clone());
    folder.link("blue", OWN);
    folders.read(&names);
    assert!(names.is_empty());
    fake.says(7);
    folders.read(&names);
    assert_eq!(name_of(&names, 7).as_deref(), Some("blue"));
}

#[test]
fn names_are_bounded_and_the_oldest_goes() {
    let names = Names::with(3, Namespaces::of(vec![]));
    for cookie in 1..=5 {
        names.record(NonZeroU64::new(cookie).unwrap(), &format!("n{cookie}"));
    }
    assert_eq!(names.len(), 3);
    let known = [1, 2, 3, 4, 5].map(|cookie| name_of(&names, cookie).is_some());
    assert_eq!(known, [false, false, true, true, true]);
}

#[test]
fn watcher_notes_names_of_a_folder_that_comes_later_and_stops_with_its_handle() {
    let (folder, names) = (Folder::absent(), Arc::new(Names::new()));
    let watcher = Watcher::of(folder.paths(), SHORT, Arc::clone(&names), AlwaysAnother::default()).unwrap();
    let is_known = |name: &str| (1..=9).any(|cookie| name_of(&names, cookie).as_deref() == Some(name));
    std::thread::sleep(Duration::from_millis(20));
    std::fs::create_dir(&folder.0).unwrap();
    for name in ["blue", "green"] {
        folder.link(name, OWN);
        eventually(|| is_known(name));
    }
    assert!(is_known("blue"));
    drop(watcher);
    eventually(|| Arc::strong_count(&names) == 1);
}

/// The interval between readings is an hour, so the folder is read only at the start.
#[test]
fn watcher_learns_names_from_events() {
    let (folder, fake, names) = (Folder::new(), Fake::default(), Arc::new(Names::new()));
    let hour = Duration::from_hours(1);
    let _watcher = Watcher::of(folder.paths(), hour, Arc::clone(&names), fake.clone()).unwrap();
    for cookie in 1..=5 {
        fake.says(cookie);
        folder.link(&format!("n{cookie}"), OWN);
        eventually(|| name_of(&names, cookie).is_some());
    }
}

#[test]
fn socket_reports_the_cookie_of_its_namespace() {
    let expected = {
        let kind = rustix::net::SocketType::DGRAM;
        let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, kind, None).unwrap();
        // Kernels before 5.14 have no such option.
        let Ok(cookie) = identify::cookie(socket.as_fd()) else { return };
        cookie
    };
    let target = Target::own().unwrap();
    match BySocket.identify(target.namespace().unwrap()) {
        Ok(found) => assert_eq!(found, id(expected)),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}"),
    }
    let other_kind = File::open("/proc/self/ns/mnt").unwrap();
    assert!(BySocket.identify(other_kind.as_fd()).is_err());
}
