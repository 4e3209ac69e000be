//! The cost of this process.

use std::fs;
use std::io;

use rustix::time::{ClockId, clock_gettime};

use super::model::{Family, Kind, Sample, Value};
use crate::domain::event::Timestamp;

/// Families about this process, with the names that all exporters use. Values that cannot be read are left out.
pub(super) fn families(started_at: Timestamp) -> impl Iterator<Item = Family> {
    let family = |name, help, unit, kind, value: Value| {
        let samples = vec![Sample::new([], value)];
        Family { name, help, unit: Some(unit), kind, samples }
    };
    let memory = resident().inspect_err(|error| tracing::debug!("/proc/self/statm: {error}")).ok();
    let time = "Start of the process, seconds since the epoch";
    let life = "Start of this agent, seconds since the epoch: with another value, counters began at 0 again";
    [
        Some(family("process_cpu", "Processor time of this process", "seconds", Kind::Counter, cpu_seconds().into())),
        memory.map(|bytes| {
            family("process_resident_memory", "Resident memory of this process", "bytes", Kind::Gauge, bytes.into())
        }),
        // All exporters have the metric above, which makes it expensive to query a whole engine for it.
        Some(family("droptrace_start_time", life, "seconds", Kind::Gauge, seconds(started_at).into())),
        Some(family("process_start_time", time, "seconds", Kind::Gauge, seconds(started_at).into())),
    ]
    .into_iter()
    .flatten()
}

/// Seconds since the Unix epoch.
#[expect(clippy::cast_precision_loss, reason = "microseconds are left of it")]
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1e9
}

/// Time in user and kernel mode, of all threads.
#[expect(clippy::cast_precision_loss, reason = "microseconds are left of it")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Bytes of the resident set.
fn resident() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    let pages = pages.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected content"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_this_process() {
        let before = resident().unwrap();
        let block = vec![1_u8; 32 << 20];
        let after = resident().unwrap();
        assert!(after >= before + (16 << 20), "{before} became {after} with {} bytes more", block.len());
    }

    #[test]
    fn work_takes_time() {
        let before = cpu_seconds();
        while cpu_seconds() < before + 0.01 {
            std::hint::black_box((0..1000).sum::<u64>());
        }
        let names: Vec<_> = families(Timestamp(1_500_000_000)).map(|family| (family.name, family.samples)).collect();
        assert_eq!(names.last(), Some(&("process_start_time", vec![Sample::new([], 1.5)])));
    }
}
