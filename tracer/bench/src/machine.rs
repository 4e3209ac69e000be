//! The machine on which the benchmark ran.

use std::fs;

use serde::Serialize;

/// The machine and its kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// The kernel's build (`uname -v`).
    pub build: String,
    /// The processor's name; absent if `/proc/cpuinfo` does not have it.
    pub processor: Option<String>,
    /// The number of processors that this process may use.
    pub cpus: usize,
    /// The size of the memory in bytes; absent if `/proc/meminfo` does not have it.
    pub memory: Option<u64>,
    /// The machine is virtual, according to the processor's flags.
    pub is_virtual: bool,
    /// The kernel's clock source; absent if the kernel does not show it.
    pub clock: Option<String>,
    /// The average number of runnable threads in the minute before the start; absent if `/proc/loadavg` cannot be read.
    pub load: Option<f64>,
}

impl Machine {
    /// Describes this machine.
    pub fn here(cpus: usize) -> Self {
        let file = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let cpu_info = file("/proc/cpuinfo").unwrap_or_default();
        Self {
            build: rustix::system::uname().version().to_string_lossy().into_owned(),
            processor: field(&cpu_info, "model name").map(str::to_owned),
            cpus,
            memory: file("/proc/meminfo").and_then(|text| memory(&text)),
            is_virtual: field(&cpu_info, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            clock: file("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            load: file("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn memory(text: &str) -> Option<u64> {
    let kilobytes: u64 = field(text, "MemTotal")?.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here(2);
        assert!(machine.memory.unwrap() > 1 << 20 && !machine.build.is_empty() && machine.load.is_some());
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        assert_eq!(field("cpu model name : x\nmodel name\t: AMD EPYC\n", "model name"), Some("AMD EPYC"));
        assert_eq!(memory("MemTotal:        8143912 kB\n"), Some(8_339_365_888));
        assert_eq!(memory("MemTotal: many\n"), None);
    }
}
