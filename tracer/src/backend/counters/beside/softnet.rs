//! The counters of each processor's receive queue (`/proc/net/softnet_stat`), which belong to the whole host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::Rise;
use crate::domain::reconciliation::CpuRise;

/// The columns of `softnet_seq_show` (`net/core/net-procfs.c`), and their names in the table of counters.
const COLUMNS: [(usize, &str); 3] = [(1, "softnet_dropped"), (2, "softnet_time_squeeze"), (10, "softnet_flow_limit")];
/// The column with the number of the processor, since Linux 5.10. Processors that are off have no line.
const CPU: usize = 12;

/// One value for each of [`COLUMNS`].
type Values = [u32; COLUMNS.len()];

/// The counters from the first reading to the last.
#[derive(Debug, Default)]
pub(super) struct Softnet {
    cpus: BTreeMap<u32, Cpu>,
    is_read: bool,
}

/// The counters of one processor.
#[derive(Debug)]
struct Cpu {
    last: Values,
    risen: [u64; COLUMNS.len()],
}

impl Softnet {
    /// Reads the file. Without it, there are no counters.
    pub(super) fn read(&mut self, proc: &Path) {
        if let Ok(text) = fs::read_to_string(proc.join("net/softnet_stat")) {
            self.take(&text);
        }
    }

    /// Takes the values. The kernel's numbers have 32 bits, and wrap.
    fn take(&mut self, text: &str) {
        for (cpu, now) in (0..).zip(text.lines()).filter_map(|(number, line)| values(number, line)) {
            let known = self.cpus.entry(cpu).or_insert(Cpu { last: now, risen: [0; COLUMNS.len()] });
            for ((risen, last), now) in known.risen.iter_mut().zip(&mut known.last).zip(now) {
                *risen += u64::from(now.wrapping_sub(*last));
                *last = now;
            }
            self.is_read = true;
        }
    }

    /// The counters that the kernel has.
    pub(super) fn present(&self) -> impl Iterator<Item = Arc<str>> {
        COLUMNS.into_iter().filter(|_| self.is_read).map(|(_, name)| name.into())
    }

    /// The counters that rose.
    pub(super) fn rises(&self) -> Vec<Rise> {
        let rise = |(slot, (_, name)): (usize, &(usize, &str))| {
            let of = |(cpu, values): (&u32, &Cpu)| CpuRise { cpu: *cpu, rise: values.risen[slot] };
            let cpus: Vec<_> = self.cpus.iter().map(of).filter(|cpu| cpu.rise > 0).collect();
            let rise = cpus.iter().map(|cpu| cpu.rise).sum();
            (rise > 0).then(|| Rise { counter: (*name).into(), rise, cpus, ..Rise::default() })
        };
        COLUMNS.iter().enumerate().filter_map(rise).collect()
    }
}

/// The processor of a line and its values.
fn values(number: u32, line: &str) -> Option<(u32, Values)> {
    let columns: Vec<_> = line.split_ascii_whitespace().map(|column| u32::from_str_radix(column, 16)).collect();
    let column = |at: usize| columns.get(at)?.clone().ok();
    let mut values = [0; COLUMNS.len()];
    for (value, (at, _)) in values.iter_mut().zip(COLUMNS) {
        *value = column(at)?;
    }
    Some((column(CPU).unwrap_or(number), values))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: &str = "0 0 0 0 0 0 0";

    fn rise(counter: &str, cpus: &[(u32, u64)]) -> Rise {
        let cpus: Vec<_> = cpus.iter().map(|(cpu, rise)| CpuRise { cpu: *cpu, rise: *rise }).collect();
        let rise = cpus.iter().map(|cpu| cpu.rise).sum();
        Rise { counter: counter.into(), rise, cpus, ..Rise::default() }
    }

    fn rises(readings: &[&[String]]) -> Vec<Rise> {
        let mut softnet = Softnet::default();
        for lines in readings {
            softnet.take(&lines.join("\n"));
        }
        softnet.rises()
    }

    #[test]
    fn each_processor_has_its_rise_and_numbers_wrap() {
        let first = [format!("1 fffffff0 2 {ZEROS} 5 0 0 0"), format!("1 7 2 {ZEROS} 5 0 3 0")];
        let last = [format!("9 10 2 {ZEROS} 5 0 0 0"), format!("9 8 1f {ZEROS} 6 0 3 0")];
        let expected = [
            rise("softnet_dropped", &[(0, 32), (3, 1)]),
            rise("softnet_time_squeeze", &[(3, 29)]),
            rise("softnet_flow_limit", &[(3, 1)]),
        ];
        assert_eq!(rises(&[&first, &last]), expected);
        assert_eq!(rises(&[&first]), []);
    }

    #[test]
    fn processor_without_a_number_is_that_of_its_line() {
        let [first, last] = [0, 4].map(|dropped| [format!("1 0 0 {ZEROS} 0 0"), format!("1 {dropped} 0 {ZEROS} 0 0")]);
        assert_eq!(rises(&[&first, &last]), [rise("softnet_dropped", &[(1, 4)])]);
    }

    #[test]
    fn malformed_text_has_no_values() {
        let mut softnet = Softnet::default();
        for text in ["", "x y z", "1 2", "1 2 3 4 5 6 7 8 9 a -b c d", "1 100000000 0 0 0 0 0 0 0 0 0"] {
            softnet.take(text);
            assert_eq!((softnet.present().count(), softnet.rises()), (0, vec![]), "{text:?}");
        }
    }
}
