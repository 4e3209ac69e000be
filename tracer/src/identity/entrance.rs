//! The way into a network namespace for commands that a user runs: its name, or a process in it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::netns::{FOLDERS, inode_of, own};
use crate::explain::Entrance;

/// The way into the network namespace with this inode number; [`Entrance::Unknown`] if it is gone, or no name and no process that
/// this process may see leads to it. To look needs `CAP_SYS_PTRACE` for processes of other users.
///
/// The kernel reuses inode numbers: the namespace is the one that has the number now.
pub(crate) fn entrance(inum: u32) -> Entrance {
    if inum == 0 {
        return Entrance::Unknown;
    }
    if own().is_ok_and(|own| own == inum) {
        return Entrance::Own;
    }
    let name = FOLDERS.into_iter().flat_map(|folder| names(Path::new(folder))).find(|name| is_named(name, inum));
    name.map(Entrance::Name).or_else(|| resident(inum).map(Entrance::Process)).unwrap_or_default()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Whether a name is the namespace's. `ip netns exec` takes names of the folders alone.
fn is_named(name: &str, inum: u32) -> bool {
    FOLDERS.iter().any(|folder| inode_of(&Path::new(folder).join(name)).is_ok_and(|found| found == Some(inum)))
}

/// The lowest id of a process in the namespace.
fn resident(inum: u32) -> Option<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_there =
        |pid: &u32| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|found| found.ino() == u64::from(inum));
    processes.filter(is_there).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_namespace_needs_no_entrance() {
        assert_eq!(entrance(own().unwrap()), Entrance::Own);
    }

    #[test]
    fn number_without_a_namespace_leads_nowhere() {
        assert_eq!((entrance(0), entrance(1)), (Entrance::Unknown, Entrance::Unknown));
        assert!(!is_named("no-such-name", 1));
    }

    #[test]
    fn process_leads_to_its_namespace() {
        let found = resident(own().unwrap()).unwrap();
        assert_eq!(fs::metadata(format!("/proc/{found}/ns/net")).unwrap().ino(), u64::from(own().unwrap()));
    }
}
