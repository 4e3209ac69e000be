//! Reads the kernel's own BPF statistics about a process's programs.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::programs::loaded_programs;

/// The number of runs of programs and their total time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) count: u64,
    pub(super) time: Duration,
}

impl Runs {
    /// The nanoseconds of one run since `before`; `None` if the program did not run.
    #[expect(clippy::cast_precision_loss, reason = "times of a run are far below 2^52")]
    pub(super) fn ns_since(self, before: Self) -> Option<f64> {
        let (count, time) = (self.count.checked_sub(before.count)?, self.time.checked_sub(before.time)?);
        (count > 0).then(|| time.as_nanos() as f64 / count as f64)
    }
}

/// The runs of these programs while statistics were on.
pub(super) fn runs(programs: &BTreeSet<u32>) -> Runs {
    let mut runs = Runs::default();
    for program in loaded_programs() {
        // A program that is gone by now is not one of these.
        let Ok(program) = program else { continue };
        if programs.contains(&program.id()) {
            runs.count += program.run_count();
            runs.time += program.run_time();
        }
    }
    runs
}

/// The ids of the programs that a process has open.
pub(super) fn held_by(pid: u32) -> Result<BTreeSet<u32>> {
    let cannot = || "cannot see which BPF programs a process holds";
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).with_context(cannot)? {
        // A file that was closed meanwhile is not a program.
        let Ok(text) = fs::read_to_string(entry.with_context(cannot)?.path()) else { continue };
        ids.extend(program_id(&text));
    }
    Ok(ids)
}

/// The program id in a file of `/proc/PID/fdinfo` (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
fn program_id(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_their_files() {
        assert_eq!(program_id("pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_id:\t412\n"), Some(412));
        assert_eq!(program_id("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn time_of_a_run_is_the_added_time_per_run() {
        let runs = |count, nanos| Runs { count, time: Duration::from_nanos(nanos) };
        assert_eq!(runs(30, 2500).ns_since(runs(10, 500)), Some(100.0));
        assert_eq!(runs(10, 500).ns_since(runs(10, 500)), None);
        assert_eq!(runs(0, 0).ns_since(runs(10, 500)), None);
    }
}
