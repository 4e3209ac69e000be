//! Network namespaces: their numbers and names.
//!
//! A namespace's number is the inode number of its file on nsfs, as `ls -l /proc/PID/ns/net` shows it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// Where `ip netns` keeps names (`NETNS_RUN_DIR` of iproute2, which writes to the second).
const NAMES: [&str; 2] = ["/run/netns", "/var/run/netns"];
const OWN: &str = "/proc/self/ns/net";

/// A flood of unknown numbers must not read the folders each time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// `NSFS_MAGIC` (`include/uapi/linux/magic.h`).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Why no network namespace could be found by what was given.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The file could not be reached.
    #[error(
        "no network namespace `{given}`: cannot open {}; give `self`, an inode number, `pid:N`, a name under /run/netns \
         or a path",
        path.display()
    )]
    Open {
        /// What was asked for.
        given: String,
        /// The file that it means.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another kind of file.
    #[error("no network namespace `{given}`: {} is another kind of file", path.display())]
    OtherKind {
        /// What was asked for.
        given: String,
        /// The file that it means.
        path: PathBuf,
    },
    /// `pid:` without a number.
    #[error("no network namespace `{given}`: after `pid:` stands the number of a process")]
    Pid {
        /// What was asked for.
        given: String,
    },
}

/// Number of this process's own network namespace.
pub fn own() -> io::Result<u32> {
    number(std::fs::metadata(OWN)?.ino())
}

/// Numbers of namespaces have 32 bits (`unsigned int inum`, `include/linux/ns_common.h`).
fn number(inode: u64) -> io::Result<u32> {
    u32::try_from(inode).map_err(|_| io::Error::other(format!("inode number {inode} is not a namespace's")))
}

/// The number of a namespace given as `self`, an inode number, `pid:N`, a name under `/run/netns`, or a path (with a
/// `/`). An inode number is taken as it is: namespaces without a name or process cannot be looked up.
pub fn parse_target(given: &str) -> Result<u32, NetnsError> {
    // No namespace has the number 0, and a filter for it would let everything through.
    if let Ok(number @ 1..) = given.parse() {
        return Ok(number);
    }
    let path = match given.strip_prefix("pid:") {
        Some(pid) => {
            let pid: u32 = pid.parse().map_err(|_| NetnsError::Pid { given: given.into() })?;
            PathBuf::from(format!("/proc/{pid}/ns/net"))
        }
        None if given == "self" => OWN.into(),
        None if given.contains('/') => given.into(),
        None => named(given),
    };
    match of_file(&path) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(NetnsError::OtherKind { given: given.into(), path }),
        Err(source) => Err(NetnsError::Open { given: given.into(), path, source }),
    }
}

fn named(name: &str) -> PathBuf {
    let candidates = NAMES.map(|folder| Path::new(folder).join(name));
    let [first, _] = &candidates;
    candidates.iter().find(|path| path.exists()).unwrap_or(first).clone()
}

/// The number of the network namespace that a file stands for; `None` if it stands for anything else.
fn of_file(path: &Path) -> io::Result<Option<u32>> {
    if rustix::fs::statfs(path)?.f_type != NSFS_MAGIC {
        return Ok(None);
    }
    // Not to wait, should another file have taken its place meanwhile.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !is_network(&file) {
        return Ok(None);
    }
    number(file.metadata()?.ino()).map(Some)
}

/// Asks nsfs which kind of namespace a file is (`NS_GET_NSTYPE`, since 4.11).
#[expect(unsafe_code, reason = "neither std nor rustix knows this ioctl, whose answer is its return value")]
fn is_network(file: &File) -> bool {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the descriptor is open for the length of the call, and this ioctl takes no argument and writes nothing.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

/// Names of the host's namespaces, read again when a number is unknown.
#[derive(Default)]
pub struct Namespaces {
    names: HashMap<u32, Arc<str>>,
    read_at: Option<Instant>,
}

impl Namespaces {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name under `/run/netns`; none for namespaces without one, such as those of most containers.
    pub fn name(&mut self, inum: u32) -> Option<Arc<str>> {
        if !self.names.contains_key(&inum) {
            self.refresh(Instant::now(), &NAMES);
        }
        self.names.get(&inum).cloned()
    }

    fn refresh(&mut self, now: Instant, folders: &[&str]) {
        if self.read_at.is_some_and(|at| now.saturating_duration_since(at) < REFRESH_INTERVAL) {
            return;
        }
        self.read_at = Some(now);
        self.names.clear();
        // Without such a folder no namespace has a name.
        for entry in folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
            // A name whose namespace is gone stands for an empty file.
            if let (Some(name), Ok(Some(inum))) = (entry.file_name().to_str(), of_file(&entry.path())) {
                self.names.entry(inum).or_insert_with(|| name.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_lead_to_the_own_namespace() {
        let own = own().unwrap();
        assert!(own > 0);
        let pid = format!("pid:{}", std::process::id());
        for given in ["self", "/proc/self/ns/net", "/proc/thread-self/ns/net", &own.to_string(), &pid] {
            assert_eq!(parse_target(given).unwrap(), own, "{given}");
        }
    }

    #[test]
    fn a_number_is_taken_as_it_is() {
        assert_eq!(parse_target("4026531833").unwrap(), 4_026_531_833);
    }

    #[test]
    fn what_is_no_network_namespace_is_told() {
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
    fn names_come_from_the_folder_and_are_read_once_a_second() {
        let folder = std::env::temp_dir().join(format!("droptrace-netns-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let given = folder.to_str().unwrap().to_owned();
        // A link leads to nsfs as a bind mount would, and needs no rights.
        let add = |name: &str, target: &str| std::os::unix::fs::symlink(target, folder.join(name)).unwrap();
        add("not-network", "/proc/self/ns/mnt");
        let mut namespaces = Namespaces::new();
        let (own, start) = (own().unwrap(), Instant::now());
        let mut name_at = |millis| {
            namespaces.refresh(start + Duration::from_millis(millis), &[&given]);
            namespaces.names.get(&own).map(ToString::to_string)
        };
        assert_eq!(name_at(0), None);
        add("blue", OWN);
        assert_eq!(name_at(999), None);
        assert_eq!(name_at(1000).as_deref(), Some("blue"));
        assert_eq!(namespaces.names.len(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
