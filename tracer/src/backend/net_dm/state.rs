//! A note of this process's changes to the host's one drop monitor, so that the next run can restore it if this process
//! is killed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::request::{Config, Drops};
use crate::kernel::clock::boot_id;
use crate::kernel::timens::ClockOffsets;

/// Path of the note, which is gone with the next boot.
const PATH: &str = "/run/droptrace/net_dm.state";

/// The changes, and the process that made them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) owner: Process,
    /// The monitor's settings before the change.
    pub(super) found: Config,
    /// The monitor's settings after the change.
    pub(super) configured: Config,
    /// The kinds of drops that the process started.
    pub(super) started: Drops,
}

/// A process, identified among all processes of this host, past and future.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pid: u32,
    /// Start time of the process, in clock ticks since boot, as `/proc/PID/stat` shows it outside of time namespaces.
    start_time: u64,
    /// See [`boot_id`].
    boot_id: String,
}

impl Process {
    /// This process.
    pub(super) fn current() -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self { pid, start_time: start_time(pid)?, boot_id: boot_id()? })
    }

    /// Whether the process started in the same boot as `current`.
    pub(super) fn is_of_the_boot_of(&self, current: &Self) -> bool {
        self.boot_id == current.boot_id
    }

    /// Whether the process still runs. Processes of another PID namespace cannot be seen, and count as gone.
    pub(super) fn is_alive(&self) -> bool {
        // An offset of a time namespace that is no whole number of ticks makes the start differ by one. A number is not
        // given to a second process that soon.
        start_time(self.pid).is_ok_and(|start_time| start_time.abs_diff(self.start_time) <= 1)
    }
}

fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let shown = parse_start_time(&stat);
    let start_time = shown.and_then(|ticks| without_offset(ticks, ClockOffsets::own().boottime_ns));
    start_time.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat makes no sense"))
}

/// The kernel adds to each start time what it adds to the reader's own `CLOCK_BOOTTIME` (`do_task_stat`,
/// fs/proc/array.c), and two readers in different time namespaces must find the same start.
fn without_offset(ticks: u64, boottime_ns: i128) -> Option<u64> {
    let tick_ns = 1_000_000_000 / i128::from(rustix::param::clock_ticks_per_second());
    u64::try_from(i128::from(ticks) - boottime_ns.div_euclid(tick_ns)).ok()
}

/// The 22nd field. The second is the process's name in brackets, which may hold spaces and brackets itself.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The file that the note is in.
pub(super) struct NoteFile {
    path: PathBuf,
}

impl Default for NoteFile {
    fn default() -> Self {
        Self { path: PATH.into() }
    }
}

impl NoteFile {
    /// The note, if there is one that only root or this user could have written.
    pub(super) fn read(&self) -> io::Result<Option<Note>> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let trusted =
            [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) && metadata.mode() & 0o022 == 0;
        if !metadata.is_file() || !trusted {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may have written it"));
        }
        let note = serde_json::from_slice(&fs::read(&self.path)?);
        note.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Replaces the note, whole or not at all.
    pub(super) fn write(&self, note: &Note) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        let beside = self.path.with_extension("new");
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside)?;
        file.write_all(&serde_json::to_vec(note)?)?;
        fs::rename(&beside, &self.path)
    }

    /// Removes the note, if there is one.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(test)]
    fn at(path: PathBuf) -> Self {
        Self { path }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::backend::net_dm::AlertMode;

    fn note() -> Note {
        let found = Config { mode: AlertMode::Summary, trunc_len: 0, queue_len: 1000 };
        let configured = Config { mode: AlertMode::Packet, trunc_len: 128, queue_len: 4999 };
        let started = Drops { software: true, hardware: false };
        Note { owner: Process::current().unwrap(), found, configured, started }
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("droptrace-note-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_note_is_kept_until_it_is_removed() {
        let folder = folder("kept");
        let file = NoteFile::at(folder.join("deeper/net_dm.state"));
        assert_eq!(file.read().unwrap(), None);
        file.remove().unwrap();
        file.write(&note()).unwrap();
        file.write(&note()).unwrap();
        assert_eq!(file.read().unwrap(), Some(note()));
        file.remove().unwrap();
        assert_eq!(file.read().unwrap(), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_note_that_others_may_have_written_is_refused() {
        let folder = folder("refused");
        let file = NoteFile::at(folder.join("net_dm.state"));
        file.write(&note()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        file.remove().unwrap();
        std::os::unix::fs::symlink("/proc/self/stat", file.path()).unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        file.remove().unwrap();
        fs::write(file.path(), b"{\"owner\":").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn processes_are_identified_by_number_and_start_time() {
        let current = Process::current().unwrap();
        assert!(current.is_alive() && current.is_of_the_boot_of(&current));
        let before = Process { start_time: current.start_time - 2, ..current.clone() };
        assert!(!before.is_alive(), "another process had this number");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let sleeper = Process { pid: child.id(), start_time: start_time(child.id()).unwrap(), ..current.clone() };
        assert!(sleeper.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!sleeper.is_alive());
        assert!(!Process { boot_id: "another".into(), ..current.clone() }.is_of_the_boot_of(&current));
    }

    #[test]
    fn start_times_are_free_of_the_readers_time_namespace() {
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(without_offset(10_000, 0), Some(10_000));
        assert_eq!(without_offset(10_000 + 5 * ticks, 5_000_000_000), Some(10_000));
        assert_eq!(without_offset(10_000 - 5 * ticks, -5_000_000_000), Some(10_000));
        assert_eq!(without_offset(1, 5_000_000_000), None);
    }

    #[test]
    fn names_of_processes_do_not_confuse() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_start_time(&format!("7 (a) b) {rest}")), Some(4711));
        assert_eq!(parse_start_time("7 (a) S 1 2"), None);
        assert_eq!(parse_start_time(""), None);
    }
}
