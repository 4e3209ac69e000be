//! The time namespace of this process: how far its clocks are from the kernel's own.
//!
//! In a time namespace (`unshare --time`, since Linux 5.6) the kernel adds an offset to `CLOCK_MONOTONIC` and
//! `CLOCK_BOOTTIME`, and to the start times in `/proc/PID/stat`. `bpf_ktime_get_ns()` and `jiffies` have no such offset,
//! and `CLOCK_REALTIME` has none either.

use std::fs;
use std::sync::OnceLock;

use rustix::process::getppid;

/// The offsets that the kernel adds to its own clocks for this process, in nanoseconds. They are zero outside of a time
/// namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockOffsets {
    /// The offset of `CLOCK_MONOTONIC`.
    pub(crate) monotonic_ns: i128,
    /// The offset of `CLOCK_BOOTTIME`.
    pub(crate) boottime_ns: i128,
}

impl ClockOffsets {
    /// The offsets of this process. They are read once, because the kernel does not change them while a process runs.
    pub(crate) fn own() -> Self {
        static OWN: OnceLock<ClockOffsets> = OnceLock::new();
        *OWN.get_or_init(Self::read)
    }

    /// Reads the offsets, which are zero where the kernel has no time namespaces.
    fn read() -> Self {
        let Ok(own) = fs::read_link("/proc/self/ns/time") else { return Self::default() };
        // A process's `timens_offsets` belongs to the namespace of its children (`proc_timens_show_offsets`,
        // kernel/time/namespace.c). Before Linux 6.2, a program that `unshare --time` starts without a fork has
        // children in the new namespace while it stays in the old one, so its ancestors are read then.
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get()).to_string();
        let is_in = |pid: &&str| fs::read_link(format!("/proc/{pid}/ns/time_for_children")).is_ok_and(|of| of == own);
        let Some(pid) = ["self", &parent, "1"].into_iter().find(is_in) else {
            tracing::debug!("no process shows the offsets of this time namespace; droptrace assumes 0");
            return Self::default();
        };
        match fs::read_to_string(format!("/proc/{pid}/timens_offsets")) {
            Ok(text) => Self::parse(&text),
            Err(error) => {
                tracing::debug!("/proc/{pid}/timens_offsets: {error}; the clocks are taken as the kernel's own");
                Self::default()
            }
        }
    }

    /// Reads lines such as `monotonic  100  500000000`: clock, seconds, nanoseconds. The seconds may be negative, and
    /// the nanoseconds count upwards from them. Linux 5.6 gives the number of the clock instead of its name. Lines of
    /// other clocks and lines that cannot be read are skipped.
    fn parse(text: &str) -> Self {
        let mut offsets = Self::default();
        for line in text.lines() {
            match line_offset(line) {
                Some(("monotonic" | "1", ns)) => offsets.monotonic_ns = ns,
                Some(("boottime" | "7", ns)) => offsets.boottime_ns = ns,
                _ => {}
            }
        }
        offsets
    }
}

fn line_offset(line: &str) -> Option<(&str, i128)> {
    let mut words = line.split_ascii_whitespace();
    let (clock, seconds, nanoseconds) = (words.next()?, words.next()?, words.next()?);
    let (seconds, nanoseconds): (i64, i64) = (seconds.parse().ok()?, nanoseconds.parse().ok()?);
    Some((clock, i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (i128, i128) {
        let ClockOffsets { monotonic_ns, boottime_ns } = ClockOffsets::parse(text);
        (monotonic_ns, boottime_ns)
    }

    #[test]
    fn offsets_are_read_as_the_kernel_writes_them() {
        assert_eq!(parsed("monotonic           0         0\nboottime            0         0\n"), (0, 0));
        let shifted = "monotonic      100000         0\nboottime           1 500000000\n";
        assert_eq!(parsed(shifted), (100_000_000_000_000, 1_500_000_000));
        assert_eq!(parsed("monotonic        -100 500000000\n"), (-99_500_000_000, 0), "nanoseconds count upwards");
        assert_eq!(parsed("1          10         5\n7          20         0\n"), (10_000_000_005, 20_000_000_000));
    }

    #[test]
    fn unreadable_offset_lines_are_skipped() {
        assert_eq!(parsed(""), (0, 0));
        assert_eq!(parsed("tai 5 0\nmonotonic\nmonotonic 1\nmonotonic x 0\nboottime 2 0 more\n"), (0, 2_000_000_000));
        assert_eq!(parsed("monotonic 9223372036854775807 0"), (9_223_372_036_854_775_807_000_000_000, 0));
        assert_eq!(parsed("monotonic 9223372036854775808 0"), (0, 0));
    }

    #[test]
    fn own_offsets_fit_the_clock_that_has_none() {
        // `/proc/timer_list` shows the kernel's own monotonic time, to root only.
        let Ok(list) = fs::read_to_string("/proc/timer_list") else { return };
        let now = list.lines().find_map(|line| line.strip_prefix("now at ")?.strip_suffix(" nsecs"));
        let Some(kernel) = now.and_then(|ns| ns.parse::<i128>().ok()) else { return };
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let shown = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        let apart = shown - ClockOffsets::own().monotonic_ns - kernel;
        assert!((0..10_000_000_000).contains(&apart), "the clocks are {apart} ns apart");
    }
}
