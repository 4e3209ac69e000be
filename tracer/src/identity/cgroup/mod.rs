//! The paths of cgroups.
//!
//! The kernel identifies a cgroup by the number of its node on cgroup2 (`cgroup->kn->id`, what
//! `bpf_get_current_cgroup_id` returns). On 64-bit kernels since 5.5 the same number is the inode number of the cgroup's
//! folder. A number is not used again within a boot (`__kernfs_new_node`, `fs/kernfs/dir.c`), so that a name cannot pass
//! to a later cgroup.

mod mount;
mod sys;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recent::Recent;
use super::text;
use crate::kernel::clock::thread_time;
pub(crate) use mount::NoHierarchy;

/// The greatest number of known cgroups. A path needs some 150 bytes.
const CAPACITY: usize = 16_384;
/// The greatest number of cgroups that one walk visits.
const MOST_VISITED: usize = 65_536;
/// The least time between two walks. It becomes longer if walks would take more than a hundredth of a processor.
const WALK_INTERVAL: Duration = Duration::from_secs(1);
const SHARE_OF_A_PROCESSOR: u32 = 100;
/// `CGROUP2_SUPER_MAGIC` (`include/uapi/linux/magic.h`).
const CGROUP2_MAGIC: i64 = 0x6367_7270;
/// The id of the first node of each kernfs hierarchy (`kernfs_create_root`, `fs/kernfs/dir.c`).
const ROOT: u64 = 1;

/// Finds the paths of cgroups by their ids. A path stays known after the end of its cgroup, because drops are reported
/// later than they happen.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchy: Result<Hierarchy, NoHierarchy>,
    known: Recent<u64, Arc<str>>,
    /// The time before which no walk begins.
    next_walk: Option<Instant>,
    /// The last walk ended at its bound.
    is_walk_cut: bool,
}

#[derive(Debug)]
struct Hierarchy {
    mount: PathBuf,
    /// The id of the cgroup at the mount point.
    top: u64,
    /// The open mount point; absent if cgroups cannot be opened by their ids, so that only walks find them.
    opener: Option<OwnedFd>,
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

impl Cgroups {
    /// Finds the mounted hierarchy. Call it before capabilities are given up: with `CAP_DAC_READ_SEARCH` a lookup takes
    /// some microseconds, and without this capability it takes a walk through all cgroups.
    pub(crate) fn new() -> Self {
        Self::of(found())
    }

    /// A hierarchy that is mounted at `mount`.
    #[cfg(test)]
    fn at(mount: &Path) -> Self {
        Self::of(Hierarchy::open(mount).map_err(NoHierarchy::from))
    }

    fn of(hierarchy: Result<Hierarchy, NoHierarchy>) -> Self {
        Self { hierarchy, known: Recent::new(CAPACITY), next_walk: None, is_walk_cut: false }
    }

    /// The mount point of the hierarchy.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn mount(&self) -> Result<&Path, &NoHierarchy> {
        self.hierarchy.as_ref().map(|hierarchy| hierarchy.mount.as_path())
    }

    /// The path of a cgroup below the mount point, such as `/system.slice/ssh.service`. It is absent for the root
    /// cgroup, which is nobody's; for a cgroup that ended before it was looked up; and for those of [`Cgroups::limits`].
    /// The path can be shown as it is: other characters than visible ones are replaced, and a path of more than 1024
    /// bytes loses its start.
    pub(crate) fn path(&mut self, id: u64) -> Option<Arc<str>> {
        self.path_at(id, Instant::now())
    }

    fn path_at(&mut self, id: u64, now: Instant) -> Option<Arc<str>> {
        if let Some(path) = self.known.get(&id) {
            return Some(Arc::clone(path));
        }
        let hierarchy = self.hierarchy.as_mut().ok()?;
        if matches!(id, 0 | ROOT) || id == hierarchy.top {
            return None;
        }
        match hierarchy.look_up(id) {
            Lookup::Found(path) => {
                let path: Arc<str> = path.into();
                self.known.insert(id, Arc::clone(&path));
                return Some(path);
            }
            Lookup::Unknown => return None,
            Lookup::Impossible => {}
        }
        self.walk(id, now);
        self.known.get(&id).cloned()
    }

    /// Notes the cgroups that exist now, and `wanted` even if there is no room for it beside the others.
    fn walk(&mut self, wanted: u64, now: Instant) {
        let Ok(hierarchy) = &self.hierarchy else { return };
        if self.next_walk.is_some_and(|next| now < next) {
            return;
        }
        let before = thread_time();
        let known = &mut self.known;
        let walk = walk::walk(&hierarchy.mount, MOST_VISITED, |id, path| {
            if id == wanted {
                known.insert(id, shown(path).into());
            } else {
                known.insert_if_room(id, || shown(path).into());
            }
        });
        let taken = thread_time().saturating_sub(before);
        self.next_walk = Some(now + WALK_INTERVAL.max(taken.saturating_mul(SHARE_OF_A_PROCESSOR)));
        self.is_walk_cut = walk.is_cut;
    }

    /// The ids and paths of the cgroups that exist now, as [`Cgroups::path`] shows them; at most the first 65,536.
    pub(crate) fn all(&mut self) -> Vec<(u64, Arc<str>)> {
        let mut found = vec![];
        if let Ok(hierarchy) = &self.hierarchy {
            let walk = walk::walk(&hierarchy.mount, MOST_VISITED, |id, path| found.push((id, shown(path).into())));
            self.is_walk_cut = walk.is_cut;
        }
        found
    }

    /// Why some cgroups have no path here, in words; absent if each existing cgroup has one.
    pub(crate) fn limits(&self) -> Option<String> {
        let hierarchy = match &self.hierarchy {
            Ok(hierarchy) => hierarchy,
            Err(error) => return Some(error.to_string()),
        };
        if hierarchy.top != ROOT {
            return Some(format!(
                "{} shows only a part of the cgroup hierarchy, because this process is in a container or a cgroup \
                 namespace of its own; cgroups outside of that part are unknown; mount the host's /sys/fs/cgroup, or use its cgroup \
                 namespace (--cgroupns=host)",
                hierarchy.mount.display()
            ));
        }
        self.is_walk_cut.then(|| {
            format!(
                "this host has more than {MOST_VISITED} cgroups, of which only the first are looked at without \
                 CAP_DAC_READ_SEARCH"
            )
        })
    }
}

/// Whether the mount point of a cgroup2 file system shows the whole hierarchy. In a cgroup namespace of its own, the mount of a
/// part looks like that of the whole in `/proc/self/mountinfo`, and the other way around.
pub(crate) fn is_whole(point: &Path) -> bool {
    fs::metadata(point).is_ok_and(|found| found.ino() == ROOT)
}

fn found() -> Result<Hierarchy, NoHierarchy> {
    let points = mount::mount_points(&fs::read("/proc/self/mountinfo")?)?;
    let is_visible = |point: &&PathBuf| rustix::fs::statfs(*point).is_ok_and(|found| found.f_type == CGROUP2_MAGIC);
    let visible: Vec<_> = points.iter().filter(is_visible).collect();
    match visible.iter().find(|point| is_whole(point)).or(visible.first()) {
        Some(point) => Ok(Hierarchy::open(point)?),
        None => Err(NoHierarchy::Hidden(points.into_iter().next().unwrap_or_default())),
    }
}

enum Lookup {
    Found(String),
    Unknown,
    /// Cgroups cannot be opened by their ids.
    Impossible,
}

impl Hierarchy {
    fn open(mount: &Path) -> io::Result<Self> {
        let top = fs::metadata(mount)?.ino();
        // Other file systems, such as that of a test, have handles of another kind.
        let is_cgroup2 = rustix::fs::statfs(mount)?.f_type == CGROUP2_MAGIC;
        let opener = if is_cgroup2 { opener(mount, top) } else { None };
        Ok(Self { mount: mount.to_owned(), top, opener })
    }

    fn look_up(&mut self, id: u64) -> Lookup {
        let opened = self.opener.as_ref().map(|opener| sys::open_by_id(opener.as_fd(), id));
        match opened {
            None => Lookup::Impossible,
            Some(Ok(folder)) => self.path_of(&folder).map_or(Lookup::Unknown, Lookup::Found),
            Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!("cgroups are looked up by walks from now on: {error}");
                self.opener = None;
                Lookup::Impossible
            }
            // `ESTALE`: there is no such cgroup.
            Some(Err(_)) => Lookup::Unknown,
        }
    }

    /// The path of an open folder. It is absent for a folder that is not below the mount point: such a folder's path
    /// starts at the root of the hierarchy instead (`d_path`, `fs/d_path.c`).
    fn path_of(&self, folder: &OwnedFd) -> Option<String> {
        let link = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
        let path = link.strip_prefix(&self.mount).ok().filter(|path| !path.as_os_str().is_empty())?;
        // The kernel says so of a cgroup that ends between the two calls.
        let before_end = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").filter(|_| !link.exists());
        Some(before_end.map_or_else(|| shown(path), |path| shown(Path::new(std::ffi::OsStr::from_bytes(path)))))
    }
}

/// The open mount point, if cgroups can be opened by their ids.
fn opener(mount: &Path, top: u64) -> Option<OwnedFd> {
    let mount: OwnedFd = File::open(mount).ok()?.into();
    match sys::open_by_id(mount.as_fd(), top) {
        Ok(_) => Some(mount),
        Err(error) => {
            tracing::debug!("cgroups are looked up by walks: {error}");
            None
        }
    }
}

fn shown(path: &Path) -> String {
    text::path(&format!("/{}", path.to_string_lossy()))
}
