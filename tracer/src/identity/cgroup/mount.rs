//! Finds where the cgroup2 hierarchy is mounted.

use std::path::PathBuf;

use thiserror::Error;

use crate::identity::mountinfo::mounts;

/// The usual mount points: of hosts with cgroup v2, and of hybrid hosts, on which cgroup v1 has the controllers.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The reason why no cgroup has a name here.
#[derive(Debug, Error)]
pub(crate) enum NoHierarchy {
    /// The list of mounts could not be read.
    #[error("cannot read the mounts of this process: {0}")]
    Unreadable(#[from] std::io::Error),
    /// All mounted hierarchies are of version 1.
    #[error(
        "only cgroup v1 is mounted here, but the kernel gives packets cgroups of v2; boot with \
         systemd.unified_cgroup_hierarchy=1, or mount cgroup2 and restart the containers"
    )]
    OnlyV1,
    /// No cgroup hierarchy is mounted.
    #[error(
        "no cgroup hierarchy is mounted here; inside `ip netns exec` use `nsenter --net=/run/netns/NAME` instead, which \
         leaves the mounts as they are; else mount cgroup2 at /sys/fs/cgroup"
    )]
    Nothing,
    /// Other file systems hide the mounts.
    #[error("cgroup2 is mounted at {}, but another mount hides it", .0.display())]
    Hidden(PathBuf),
}

/// The mount points of cgroup2 in the text of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`), the best one first:
/// one that shows the whole hierarchy comes before one that shows a part of it, as the mount of a container does, and a
/// usual mount point comes before any other one.
///
/// # Errors
/// [`NoHierarchy::OnlyV1`] or [`NoHierarchy::Nothing`].
pub(super) fn mount_points(mountinfo: &[u8]) -> Result<Vec<PathBuf>, NoHierarchy> {
    let mut found = Vec::new();
    let mut has_v1 = false;
    for mount in mounts(mountinfo) {
        has_v1 |= mount.kind == b"cgroup";
        if mount.kind == b"cgroup2" {
            let point = mount.point();
            let rank = USUAL.iter().position(|usual| point.as_os_str() == *usual).unwrap_or(USUAL.len());
            found.push((mount.root != b"/", rank, point));
        }
    }
    found.sort();
    match (found.is_empty(), has_v1) {
        (false, _) => Ok(found.into_iter().map(|(.., point)| point).collect()),
        (true, true) => Err(NoHierarchy::OnlyV1),
        (true, false) => Err(NoHierarchy::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V2: &str = "24 30 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
        35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n\
        33 31 0:30 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd\n";
    const V1: &str = "31 23 0:28 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro\n\
        33 31 0:30 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n";

    fn found(text: &str) -> Vec<String> {
        let points = mount_points(text.as_bytes()).unwrap();
        points.into_iter().map(|point| point.into_os_string().into_string().unwrap()).collect()
    }

    #[test]
    fn usual_mount_points_are_found() {
        assert_eq!(found(V2), ["/sys/fs/cgroup"]);
        assert_eq!(found(HYBRID), ["/sys/fs/cgroup/unified"]);
    }

    #[test]
    fn mount_of_the_whole_hierarchy_comes_first() {
        let lines = "50 1 0:30 /kubepods/pod1 /run/c/rootfs/sys/fs/cgroup ro - cgroup2 cgroup rw\n\
            51 1 0:30 / /mnt/with\\040blank\\134 rw master:3 propagate_from:2 - cgroup2 none rw\n";
        let all = found(&(lines.to_owned() + V2));
        assert_eq!(all, ["/sys/fs/cgroup", "/mnt/with blank\\", "/run/c/rootfs/sys/fs/cgroup"]);
    }

    #[test]
    fn absence_has_a_cause() {
        let cause = |text: &str| mount_points(text.as_bytes()).unwrap_err();
        assert!(matches!(cause(V1), NoHierarchy::OnlyV1));
        assert!(matches!(cause("24 30 0:22 / /sys rw - sysfs sysfs rw\n"), NoHierarchy::Nothing));
        assert!(matches!(cause(""), NoHierarchy::Nothing));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300), words in "([ 0-9/a\\\\-]|cgroup2|\n){0,60}") {
            let _ = (mount_points(&bytes), mount_points(words.as_bytes()));
        }
    }
}
