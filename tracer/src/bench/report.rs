//! What was measured: `droptrace.bench.v1`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::load::Load;
use super::machine::Machine;
use super::plan::{Case, SeriesName};
use super::reported::Account;
use super::spread::Spread;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `droptrace.bench.v1`.
    pub schema: &'static str,
    /// Node name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Of droptrace.
    pub version: &'static str,
    /// The machine.
    pub machine: Machine,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How long it took.
    pub duration_ns: u64,
    /// It ran to its end; else Ctrl-C ended it.
    pub complete: bool,
    /// Nanoseconds of a kernel program that does nothing, by the kernel's own statistics: the price of its clock.
    pub empty_program_ns: Option<Spread>,
    /// What was measured.
    pub series: Vec<SeriesReport>,
}

/// Cases that ran in turn.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesReport {
    /// Which.
    #[serde(serialize_with = "name_of_series")]
    pub name: SeriesName,
    /// Rounds of it.
    pub rounds: usize,
    /// What was measured.
    pub rows: Vec<Row>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's way")]
fn name_of_series<S: Serializer>(name: &SeriesName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.name())
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Who listened.
    pub configuration: &'static str,
    /// The command that was measured; none for what is no program.
    pub command: Option<String>,
    /// What was sent.
    pub load: &'static str,
    /// Distinct keys of the load; none where it is not made of keys.
    pub keys: Option<u16>,
    /// Bytes of each record; none where it was not set.
    pub snaplen: Option<u32>,
    /// Processors that dropped.
    pub cpus: usize,
    /// Drops a second that were asked for; none for as fast as it goes.
    pub pace: Option<u64>,
    /// Why there are no figures: it is not there, did not start, or its account does not add up.
    pub error: Option<String>,
    /// The figures.
    pub figures: Option<Figures>,
}

/// What one case took. Spreads are over rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Drops a second.
    pub rate: Spread,
    /// Nanoseconds of a drop with nobody listening, the median over a run's batches; none at a set rate, as for the
    /// next two.
    pub bare_ns: Option<Spread>,
    /// Nanoseconds added to it.
    pub added_ns: Option<Spread>,
    /// What a drop takes, as a multiple of that with nobody listening.
    pub ratio: Option<Spread>,
    /// Nanoseconds of its BPF programs for each drop, above the empty program; none where it has none, or where the
    /// kernel does not tell.
    pub program_ns: Option<Spread>,
    /// Drops that were sent; the kernel's own counters tell as many.
    pub sent: u64,
    /// What it reported of them; none for what tells nothing.
    pub account: Option<AccountReport>,
    /// Nanoseconds of a processor that its process took for each drop; none for what is no program, as for all that
    /// follow.
    pub cpu_ns: Option<Spread>,
    /// Nanoseconds of all rounds as user, as fine as the kernel's tick.
    pub user_ns: Option<u64>,
    /// The same, in the kernel.
    pub system_ns: Option<u64>,
    /// Memory at its peak, bytes.
    pub peak_bytes: Option<u64>,
    /// From its start until it listened.
    pub attach_ns: Option<Spread>,
}

/// What became of the drops that were sent.
#[derive(Clone, Debug, Serialize)]
pub struct AccountReport {
    /// Those that were counted or shown.
    pub accounted: u64,
    /// Those of them that were counted and not shown, as was asked for.
    pub held_back: u64,
    /// Others' drops at the same places, which cannot be reported apart.
    pub foreign: u64,
    /// `sent - accounted`, by what is said to have become of them.
    pub lost: Vec<Lost>,
    /// The part of those sent that is not accounted for.
    pub share_lost: f64,
}

/// Drops that were lost for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Its name.
    pub cause: String,
    /// How many.
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
    /// None for what tells nothing.
    pub(super) account: Option<Account>,
    pub(super) process: Option<Process>,
}

/// What its process took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// During the load.
    pub(super) cpu: Duration,
    pub(super) user: Duration,
    pub(super) system: Duration,
    /// Drops meanwhile.
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
        let keys = if let Load::Keys(keys) = case.load { Some(keys) } else { None };
        Self {
            configuration: case.target.name(),
            command: case.target.command(case.snaplen),
            load: case.load.name(),
            keys,
            snaplen: case.snaplen,
            cpus: case.cpus,
            pace: case.pace,
            error,
            figures,
        }
    }
}

impl Figures {
    /// None without a run.
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

/// Up to 584 years.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl SeriesReport {
    /// The greatest rate at which a target lost nothing, and which no rate with a loss is below.
    pub fn greatest_lossless_rate(&self, configuration: &str) -> Option<f64> {
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

    /// A report with one of each kind of row.
    pub(in crate::bench) fn sample() -> Report {
        let mut slow = row(Target::TraceAll, &[run(1500.0, 60)], None);
        slow.pace = Some(200_000);
        let keys = |keys| Row { load: "keys", keys: Some(keys), ..row(Target::Stat, &[run(1100.0, 100)], None) };
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
    fn the_document_is_as_it_was() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&sample()).unwrap());
    }
}
