//! The kernel's statistics of a program.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The kernel's statistics of a program (`bpf_prog_show_fdinfo`, `kernel/bpf/syscall.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramStats {
    /// Runs that did not happen, because the program was running already on that CPU; absent where the kernel does not
    /// report them.
    pub(crate) recursion_misses: Option<u64>,
    /// Nanoseconds that the program ran while the kernel's BPF statistics were on.
    pub(crate) run_time_ns: u64,
    /// Runs in that time.
    pub(crate) runs: u64,
    /// The kernel's number of the program; 0 where the kernel does not report it.
    pub(crate) id: u32,
}

impl ProgramStats {
    pub(super) fn read(program: &OwnedFd) -> io::Result<Self> {
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).map(|text| Self::parse(&text))
    }

    fn parse(fdinfo: &str) -> Self {
        let number = |name| {
            let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok();
            fdinfo.lines().find_map(value)
        };
        Self {
            recursion_misses: number("recursion_misses"),
            run_time_ns: number("run_time_ns").unwrap_or(0),
            runs: number("run_cnt").unwrap_or(0),
            id: number("prog_id").and_then(|id| id.try_into().ok()).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_stats_are_read_from_fdinfo() {
        let fdinfo = "pos:\t0\nprog_type:\t26\nprog_id:\t5\nrun_time_ns:\t900\nrun_cnt:\t20\nrecursion_misses:\t17\n";
        let stats = ProgramStats { recursion_misses: Some(17), run_time_ns: 900, runs: 20, id: 5 };
        assert_eq!(ProgramStats::parse(fdinfo), stats);
        assert_eq!(ProgramStats::parse("pos:\t0\nrecursion_misses:\tx\n"), ProgramStats::default());
    }
}
