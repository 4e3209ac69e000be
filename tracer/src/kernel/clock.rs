//! Maps the clock of the BPF program to real time.

use std::time::Duration;
use std::{fs, io};

use rustix::time::{ClockId, Timespec, clock_gettime};

use super::timens::ClockOffsets;
use crate::domain::event::Timestamp;

/// The number of readings. A reading may be interrupted between its two clocks, so the narrowest one counts.
const READINGS: usize = 8;

/// Maps the kernel's monotonic clock, which the BPF program stamps drops with (`bpf_ktime_get_ns`), to real time. In a
/// time namespace, this process's `CLOCK_MONOTONIC` is another clock: see `ClockOffsets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Real time minus the kernel's monotonic time, in nanoseconds.
    offset_ns: i128,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Measures the difference of the two clocks. The error is at most half the time that a reading takes, under 1 µs.
    pub fn new() -> Self {
        let shift = ClockOffsets::own().monotonic_ns;
        let monotonic = || nanoseconds(clock_gettime(ClockId::Monotonic)) - shift;
        let real = || nanoseconds(clock_gettime(ClockId::Realtime));
        Self::measure(|| Reading { before: monotonic(), real: real(), after: monotonic() })
    }

    fn measure(read: impl FnMut() -> Reading) -> Self {
        let readings = std::iter::repeat_with(read).take(READINGS);
        Self { offset_ns: readings.min_by_key(Reading::width).map_or(0, |best| best.offset()) }
    }

    /// Measures the difference again, because real time is set and slewed while monotonic time goes on.
    pub(crate) fn refresh(&mut self) {
        *self = Self::new();
    }

    /// The clock with this difference, in nanoseconds.
    pub const fn at(offset_ns: i64) -> Self {
        Self { offset_ns: offset_ns as i128 }
    }

    /// Real time minus the kernel's monotonic time at the last measurement, in nanoseconds.
    pub(crate) fn offset_ns(&self) -> i64 {
        i64::try_from(self.offset_ns).unwrap_or(if self.offset_ns < 0 { i64::MIN } else { i64::MAX })
    }

    /// The real time at `monotonic_ns` of the kernel's clock, from the last measurement. Times before 1970 become 1970,
    /// and times beyond 2554 become the last one that a [`Timestamp`] holds.
    pub fn real(&self, monotonic_ns: u64) -> Timestamp {
        let real = i128::from(monotonic_ns).saturating_add(self.offset_ns).max(0);
        Timestamp(u64::try_from(real).unwrap_or(u64::MAX))
    }

    /// The real time now.
    pub fn now() -> Timestamp {
        Timestamp(u64::try_from(nanoseconds(clock_gettime(ClockId::Realtime))).unwrap_or(0))
    }
}

/// The kernel's identifier of this boot (`drivers/char/random.c`).
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The time since the host started, also while it slept. Nobody sets this clock.
#[cfg(feature = "agent")]
pub(crate) fn boot_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// The CPU time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// A reading of real time between two readings of monotonic time, in nanoseconds.
struct Reading {
    before: i128,
    real: i128,
    after: i128,
}

impl Reading {
    fn width(&self) -> i128 {
        self.after - self.before
    }

    fn offset(&self) -> i128 {
        self.real - (self.before + self.width() / 2)
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_reading_counts() {
        let mut readings = [(100, 1000, 900), (200, 1250, 210), (300, 9000, 400)].iter().cycle();
        let clock = Clock::measure(|| {
            let &(before, real, after) = readings.next().unwrap();
            Reading { before, real, after }
        });
        assert_eq!(clock.real(0), Timestamp(1250 - 205));
        assert_eq!(clock.real(205), Timestamp(1250));
        assert_eq!(Clock::at(clock.offset_ns()), clock);
    }

    #[test]
    fn times_that_no_timestamp_holds_are_clamped() {
        let clock = |offset_ns| Clock { offset_ns };
        assert_eq!(clock(-5).real(3), Timestamp(0));
        assert_eq!(clock(5).real(u64::MAX), Timestamp(u64::MAX));
        assert_eq!(clock(i128::MAX).real(u64::MAX), Timestamp(u64::MAX));
        assert_eq!(clock(i128::MIN).real(0), Timestamp(0));
        assert_eq!(clock(-5).real(u64::MAX), Timestamp(u64::MAX - 5));
    }

    #[test]
    fn monotonic_now_is_real_now() {
        let mut clock = Clock::new();
        clock.refresh();
        let before = Clock::now();
        let monotonic = nanoseconds(clock_gettime(ClockId::Monotonic)) - ClockOffsets::own().monotonic_ns;
        let mapped = clock.real(u64::try_from(monotonic).unwrap());
        let after = Clock::now();
        // The clocks run at the same rate, except for corrections by NTP in between.
        let slack = 1_000_000;
        assert!(before.0 <= mapped.0 + slack && mapped.0 <= after.0 + slack, "{before:?} {mapped:?} {after:?}");
    }
}
