//! The resources that a process uses, by procfs.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The resources of a process at one point in time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory, bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub files: u64,
    /// Threads.
    pub threads: u64,
    /// Memory of the kernel's for BPF maps that the process has open (`memlock` in `fdinfo`), bytes.
    pub maps: u64,
    /// Processor time since its start, its own and the kernel's for it.
    pub cpu: Duration,
}

impl Usage {
    /// Asks the kernel.
    pub fn of(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}");
        let read =
            |name: &str| fs::read_to_string(format!("{folder}/{name}")).with_context(|| format!("reading {name}"));
        let status = read("status")?;
        Ok(Self {
            resident: 1024 * number(&status, "VmRSS:")?,
            threads: number(&status, "Threads:")?,
            files: fs::read_dir(format!("{folder}/fd")).context("reading fd")?.count() as u64,
            maps: maps(&folder)?,
            cpu: cpu(&read("stat")?).context("no processor time")?,
        })
    }
}

/// The number after a word at the start of a line.
fn number(text: &str, word: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word)).with_context(|| format!("no {word}"))?;
    let number = line.split_whitespace().next().with_context(|| format!("{word} without a number"))?;
    Ok(number.parse()?)
}

/// The sum over all maps, each of which has one file descriptor.
fn maps(folder: &str) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("{folder}/fdinfo")).context("reading fdinfo")? {
        // A descriptor that was closed meanwhile is none of a map.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        if text.contains("map_id:") {
            sum += number(&text, "memlock:")?;
        }
    }
    Ok(sum)
}

/// Fields 14 and 15 of `proc_pid_stat(5)`.
fn cpu(stat: &str) -> Option<Duration> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = ticks(14)? + ticks(15)?;
    Some(Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second()))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn this_process_uses_memory_and_files() {
        let usage = Usage::of(process::id()).unwrap();
        assert!(usage.resident > 100_000 && usage.files >= 3 && usage.threads >= 1 && usage.maps == 0, "{usage:?}");
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!(number("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:").unwrap(), 12);
        assert!(number("Name:\tx\n", "VmRSS:").is_err());
    }
}
