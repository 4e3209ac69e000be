//! The results of the benchmark (`droptrace.bench.v1`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::load::Load;
use super::machine::Machine;
use super::plan::{Case, SeriesName};
use super::reported::Account;
use super::spread::Spread;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The schema, `droptrace.bench.v1`.
    pub schema: &'static str,
    /// The node name of the host.
    pub host: String,
    /// The release of the kernel.
    pub kernel: String,
    /// The version of droptrace.
    pub version: &'static str,
    /// The machine.
    pub machine: Machine,
    /// The time of the start, RFC 3339.
    pub started_at: String,
    /// The duration in nanoseconds.
    pub duration_ns: u64,
    /// The benchmark is complete; otherwise Ctrl-C ended it.
    pub complete: bool,
    /// The nanoseconds of a BPF program that does nothing, from the kernel's own statistics: the cost of the
    /// statistics' clock.
    pub empty_program_ns: Option<Spread>,
    /// The series that were measured.
    pub series: Vec<SeriesReport>,
}

/// A series: cases that ran in turn.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesReport {
    /// The name of the series.
    #[serde(serialize_with = "name_of_series")]
    pub name: SeriesName,
    /// The number of rounds.
    pub rounds: usize,
    /// The results of the cases.
    pub rows: Vec<Row>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's way")]
fn name_of_series<S: Serializer>(name: &SeriesName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.name())
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The name of the target.
    pub configuration: &'static str,
    /// The command of the target; absent if the target is not a program.
    pub command: Option<String>,
    /// The name of the load.
    pub load: &'static str,
    /// The number of distinct keys of the load; absent if the load has no keys.
    pub keys: Option<u16>,
    /// The number of distinct flows of the load; absent if the load is not made of flows.
    pub flows: Option<u16>,
    /// The length of each record in bytes; absent if it was not set.
    pub snaplen: Option<u32>,
    /// The number of processors that dropped packets.
    pub cpus: usize,
    /// The requested rate in drops per second; absent if the generator was not limited.
    pub pace: Option<u64>,
    /// The reason why the row has no figures: the target does not exist, did not start, or its account does not add up.
    pub error: Option<String>,
    /// The figures; absent if there is an error.
    pub figures: Option<Figures>,
}

/// The figures of one case. Spreads are over rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// The rate in drops per second.
    pub rate: Spread,
    /// The nanoseconds of a drop without any tool, the median over a run's batches. Absent at a set rate, like the next
    /// two figures.
    pub bare_ns: Option<Spread>,
    /// The nanoseconds that the target adds to a drop.
    pub added_ns: Option<Spread>,
    /// The time of a drop as a multiple of the time without any tool.
    pub ratio: Option<Spread>,
    /// The nanoseconds of the target's BPF programs for each drop, less those of the empty program. Absent if the
    /// target has no BPF program, or if the kernel does not report its time.
    pub program_ns: Option<Spread>,
    /// The number of drops that were sent, which equals the kernel's own counters.
    pub sent: u64,
    /// The target's account of these drops; absent if the target reports nothing.
    pub account: Option<AccountReport>,
    /// The CPU time in nanoseconds that the target's process used for each drop. Absent if the target is not a program,
    /// like all following figures.
    pub cpu_ns: Option<Spread>,
    /// The user time of all rounds in nanoseconds, with the resolution of the kernel's tick.
    pub user_ns: Option<u64>,
    /// The system time of all rounds in nanoseconds, with the same resolution.
    pub system_ns: Option<u64>,
    /// The peak of resident memory in bytes.
    pub peak_bytes: Option<u64>,
    /// The nanoseconds from the start until the target was ready.
    pub attach_ns: Option<Spread>,
}

/// The result for the drops that were sent.
#[derive(Clone, Debug, Serialize)]
pub struct AccountReport {
    /// The number of drops that were counted or shown.
    pub accounted: u64,
    /// The number of these drops that were counted and not shown, because the options limit the output.
    pub held_back: u64,
    /// The number of other drops at the same drop sites, which the target cannot report separately.
    pub foreign: u64,
    /// The missing drops (`sent - accounted`), by the reported cause.
    pub lost: Vec<Lost>,
    /// The share of the sent drops that is not accounted for.
    pub share_lost: f64,
}

/// The drops that were lost for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The name of the cause.
    pub cause: String,
    /// The number of drops.
    pub drops: u64,
}

/// One run of a case.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) rate: f64,
    pub(super) ns: f64,
    pub(super) bare_ns: Option<f64>,
    pub(super) program_ns: Option<f64>,
    pub(super) sent: u64,
    /// The target's account; absent if the target reports nothing.
    pub(super) account: Option<Account>,
    pub(super) process: Option<Process>,
}

/// The resources that the target's process used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// The CPU time during the load.
    pub(super) cpu: Duration,
    pub(super) user: Duration,
    pub(super) system: Duration,
    /// The number of drops during the load.
    pub(super) drops: u64,
    pub(super) peak: u64,
    pub(super) attached_after: Duration,
}

impl Process {
    #[expect(clippy::cast_precision_loss, reason = "counts and times are far below 2^52")]
    fn cpu_ns(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.drops.max(1) as f64
    }
}

impl Row {
    pub(super) fn new(case: &Case, runs: &[Run], error: Option<String>) -> Self {
        let figures = if error.is_some() { None } else { Figures::of(runs) };
        let (keys, flows) = match case.load {
            Load::Keys(keys) => (Some(keys), None),
            Load::Flows(flows) | Load::ZipfFlows(flows) => (None, Some(flows)),
            _ => (None, None),
        };
        Self {
            configuration: case.target.name(),
            command: case.target.command(case.snaplen),
            load: case.load.name(),
            keys,
            flows,
            snaplen: case.snaplen,
            cpus: case.cpus,
            pace: case.pace,
            error,
            figures,
        }
    }
}

impl Figures {
    /// Summarizes runs; `None` if there are none.
    fn of(runs: &[Run]) -> Option<Self> {
        let bare = |run: &Run| Some((run.bare_ns?, run.ns));
        let processes: Vec<_> = runs.iter().filter_map(|run| run.process).collect();
        let sent = runs.iter().map(|run| run.sent).sum();
        let total =
            |of: fn(&Process) -> Duration| (!processes.is_empty()).then(|| nanoseconds(processes.iter().map(of).sum()));
        Some(Self {
            rate: Spread::of(runs.iter().map(|run| run.rate))?,
            bare_ns: Spread::of(runs.iter().filter_map(bare).map(|(bare, _)| bare)),
            added_ns: Spread::of(runs.iter().filter_map(bare).map(|(bare, ns)| ns - bare)),
            ratio: Spread::of(runs.iter().filter_map(bare).map(|(bare, ns)| ns / bare)),
            program_ns: Spread::of(runs.iter().filter_map(|run| run.program_ns)),
            sent,
            account: AccountReport::of(sent, runs),
            cpu_ns: Spread::of(processes.iter().map(Process::cpu_ns)),
            user_ns: total(|it| it.user),
            system_ns: total(|it| it.system),
            peak_bytes: processes.iter().map(|it| it.peak).max(),
            attach_ns: Spread::of(processes.iter().map(|it| 1e9 * it.attached_after.as_secs_f64())),
        })
    }
}

impl AccountReport {
    fn of(sent: u64, runs: &[Run]) -> Option<Self> {
        let accounts = runs.iter().map(|run| run.account.as_ref()).collect::<Option<Vec<_>>>()?;
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(|account| of(account)).sum::<u64>();
        let accounted = sum(|it| it.accounted);
        let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
        for (cause, drops) in accounts.iter().flat_map(|account| &account.lost) {
            *causes.entry(cause).or_default() += drops;
        }
        Some(Self {
            accounted,
            held_back: sum(|it| it.held_back),
            foreign: sum(|it| it.foreign),
            lost: causes.into_iter().map(|(cause, drops)| Lost { cause: cause.to_owned(), drops }).collect(),
            share_lost: share(sent - accounted, sent),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The time in nanoseconds, at most 584 years.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl SeriesReport {
    /// The greatest rate at which a target lost nothing. No lower rate has a loss.
    pub(crate) fn greatest_lossless_rate(&self, configuration: &str) -> Option<f64> {
        let rows = self.rows.iter().filter(|row| row.configuration == configuration);
        let figures = rows.filter_map(|row| row.figures.as_ref());
        let rates: Vec<_> =
            figures.filter_map(|it| Some((it.rate.median, it.account.as_ref()?.accounted == it.sent))).collect();
        let lossy = rates.iter().filter(|(_, lossless)| !lossless).map(|(rate, _)| *rate);
        let first_loss = lossy.fold(f64::INFINITY, f64::min);
        let lossless = rates.iter().filter(|(_, lossless)| *lossless).map(|(rate, _)| *rate);
        lossless.filter(|rate| *rate < first_loss).max_by(f64::total_cmp)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::target::Target;
    use super::*;

    fn run(ns: f64, accounted: u64) -> Run {
        let lost = vec![("ring_full".to_owned(), 100 - accounted)];
        let account = Some(Account { accounted, held_back: 0, foreign: 0, lost });
        let process = Process {
            cpu: Duration::from_millis(5),
            user: Duration::from_millis(10),
            system: Duration::ZERO,
            drops: 100_000,
            peak: 20 << 20,
            attached_after: Duration::from_millis(49),
        };
        Run {
            rate: 5e8 / ns,
            ns,
            bare_ns: Some(1000.0),
            program_ns: Some(20.0),
            sent: 100,
            account,
            process: Some(process),
        }
    }

    fn case(target: Target) -> Case {
        Case { target, load: Load::FullBuffer, pace: None, cpus: 1, snaplen: None }
    }

    fn row(target: Target, runs: &[Run], error: Option<&str>) -> Row {
        Row::new(&case(target), runs, error.map(str::to_owned))
    }

    /// A report with a row of each kind.
    pub(crate) fn sample() -> Report {
        let mut slow = row(Target::TraceAll, &[run(1500.0, 60)], None);
        slow.pace = Some(200_000);
        let of_load = |target, load| Row::new(&Case { load, ..case(target) }, &[run(1100.0, 100)], None);
        let keys = |keys| of_load(Target::Stat, Load::Keys(keys));
        let flows = |target| of_load(target, Load::Flows(16_000));
        Report {
            schema: "droptrace.bench.v1",
            host: "lab-1".into(),
            kernel: "6.18.44".into(),
            version: "0.1.0",
            machine: Machine {
                build: "#1 SMP <PREEMPT>".into(),
                processor: Some("A processor".into()),
                cpus: 2,
                memory: Some(8 << 30),
                is_virtual: true,
                clock: Some("tsc".into()),
                load: Some(0.25),
            },
            started_at: "2026-01-02T03:04:05Z".into(),
            duration_ns: 61_000_000_000,
            complete: true,
            empty_program_ns: Spread::of([50.0]),
            series: vec![
                SeriesReport {
                    name: SeriesName::Cost,
                    rounds: 2,
                    rows: vec![
                        Row { command: None, ..row(Target::Nothing, &[nothing(990.0), nothing(1030.0)], None) },
                        row(Target::Stat, &[run(1100.0, 100), run(1300.0, 100)], None),
                        row(Target::TraceAll, &[run(1500.0, 75), run(1200.0, 100)], None),
                        row(Target::Retis, &[], Some("not found on PATH")),
                    ],
                },
                SeriesReport { name: SeriesName::Loss, rounds: 1, rows: vec![slow] },
                SeriesReport { name: SeriesName::Keys, rounds: 1, rows: vec![keys(1), keys(1000)] },
                SeriesReport {
                    name: SeriesName::Flows,
                    rounds: 1,
                    rows: vec![flows(Target::StatFlows), flows(Target::BpftraceFlows)],
                },
                SeriesReport {
                    name: SeriesName::Owners,
                    rounds: 1,
                    rows: [Target::StatOwners, Target::BpftraceOwners]
                        .map(|target| of_load(target, Load::FullBuffer))
                        .into(),
                },
            ],
        }
    }

    fn nothing(ns: f64) -> Run {
        Run { program_ns: None, process: None, account: None, ..run(ns, 100) }
    }

    #[test]
    fn figures_are_of_all_rounds() {
        let row = row(Target::TraceAll, &[run(1500.0, 75), run(1200.0, 100)], None);
        let figures = row.figures.unwrap();
        assert_eq!(figures.added_ns, Spread::of([200.0, 500.0]));
        assert_eq!(figures.ratio, Spread::of([1.2, 1.5]));
        assert_eq!(figures.program_ns, Spread::of([20.0, 20.0]));
        let account = figures.account.unwrap();
        assert_eq!((figures.sent, account.accounted, account.share_lost), (200, 175, 0.125));
        assert_eq!(account.lost, [Lost { cause: "ring_full".into(), drops: 25 }]);
        assert_eq!((figures.cpu_ns.unwrap().median, figures.user_ns), (50.0, Some(20_000_000)));
    }

    #[test]
    fn an_error_leaves_no_figures() {
        let row = row(Target::Stat, &[run(1500.0, 75)], Some("it does not add up"));
        assert!(row.figures.is_none() && row.error.is_some());
    }

    #[test]
    fn a_rate_is_held_only_below_the_first_loss() {
        let rows = [(1000.0, 100), (900.0, 100), (800.0, 99), (700.0, 100)];
        let rows = rows.map(|(ns, accounted)| row(Target::TraceAll, &[run(ns, accounted)], None)).into();
        let series = SeriesReport { name: SeriesName::Loss, rounds: 1, rows };
        assert_eq!(series.greatest_lossless_rate("trace-all"), Some(5e8 / 900.0));
        assert_eq!(series.greatest_lossless_rate("stat"), None);
    }

    #[test]
    fn report_document_is_unchanged() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&sample()).unwrap());
    }
}
