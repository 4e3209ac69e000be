//! Selects the cases, and limits the time of the benchmark.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::load::Load;
use super::target::Target;

/// The options of the benchmark.
#[derive(Clone, Debug)]
pub struct Options {
    /// Limits the benchmark to one minute instead of ten.
    pub quick: bool,
    /// The number of rounds of each series; `None` for as many as the time allows, up to nine.
    pub rounds: Option<usize>,
    /// The number of drops of one run; `None` for as many as fit the time.
    pub drops: Option<u64>,
    /// The targets.
    pub targets: Vec<Target>,
    /// The series.
    pub series: Vec<SeriesName>,
}

/// A series of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesName {
    /// Each target, on one processor, at full speed; with `quick`, without those of the series of owners and flows.
    Cost,
    /// Some targets at set rates.
    Loss,
    /// Some targets with many distinct keys.
    Keys,
    /// Counts by flow, and `stat` beside them, with many distinct flows.
    Flows,
    /// Counts by owner, and `stat` beside them.
    Owners,
    /// Records of several lengths.
    Snaplen,
    /// Some targets with more processors that drop packets.
    Cpus,
    /// Some targets under other loads.
    Loads,
}

impl SeriesName {
    /// All series, in the order in which they are measured.
    pub const ALL: [Self; 8] =
        [Self::Cost, Self::Loss, Self::Keys, Self::Flows, Self::Owners, Self::Snaplen, Self::Cpus, Self::Loads];

    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Loss => "loss",
            Self::Keys => "keys",
            Self::Flows => "flows",
            Self::Owners => "owners",
            Self::Snaplen => "snaplen",
            Self::Cpus => "cpus",
            Self::Loads => "loads",
        }
    }

    /// The title of the series.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Cost => "Cost of a drop",
            Self::Loss => "Drops accounted for, by rate",
            Self::Keys => "Cost by distinct keys",
            Self::Flows => "Cost of counts by flow",
            Self::Owners => "Cost of counts by owner",
            Self::Snaplen => "Cost by length of the record",
            Self::Cpus => "Cost by processors that drop",
            Self::Loads => "Cost by kind of drop",
        }
    }

    /// The weight of the series in the distribution of time.
    const fn weight(self) -> u32 {
        match self {
            Self::Cost => 40,
            Self::Loss => 25,
            Self::Keys => 15,
            Self::Flows => 22,
            Self::Owners | Self::Snaplen => 8,
            Self::Cpus => 12,
            Self::Loads => 20,
        }
    }
}

impl ValueEnum for SeriesName {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// One target under one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) target: Target,
    pub(super) load: Load,
    /// The rate in drops per second; `None` if the generator is not limited.
    pub(super) pace: Option<u64>,
    /// The number of processors that drop packets.
    pub(super) cpus: usize,
    pub(super) snaplen: Option<u32>,
}

impl Case {
    const fn new(target: Target) -> Self {
        Self { target, load: Load::FullBuffer, pace: None, cpus: 1, snaplen: None }
    }
}

/// Cases that run in turn.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: SeriesName,
    pub(super) cases: Vec<Case>,
}

/// The rates in drops per second, as far as the generator reaches them.
const PACES: [u64; 8] = [50_000, 100_000, 200_000, 300_000, 400_000, 500_000, 700_000, 1_000_000];
const QUICK_PACES: [u64; 2] = [100_000, 400_000];
const SNAPLENS: [u32; 5] = [0, 64, 128, 512, 1024];
const KEYS: [u16; 4] = [1, 64, 1000, 8000];
/// The numbers of flows. `stat` has room for 4,096 flows on each CPU between two readings, and bpftrace for 4,096 keys.
const FLOWS: [u16; 4] = [1, 64, 4000, 16_000];
/// The number of flows whose shares follow Zipf's law.
const ZIPF_FLOWS: u16 = 4000;
const QUICK_FLOWS: [u16; 2] = [64, 16_000];

impl Options {
    /// The greatest time of the whole benchmark. Each series has at least one round.
    pub(super) const fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 50 } else { 560 })
    }

    /// The time of one run without any tool.
    pub(super) const fn run_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 300 })
    }

    pub(super) fn most_rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 9 })
    }

    /// The share of the remaining time for the first of these series.
    pub(super) fn share(series: &[Series], left: Duration) -> Duration {
        let weight = |series: &Series| series.name.weight();
        let all: u32 = series.iter().map(weight).sum();
        series.first().map_or(Duration::ZERO, |first| left * weight(first) / all.max(1))
    }

    /// The series for `cpus` processors, on one of which the generator reaches `greatest_rate` drops per second.
    pub(super) fn series(&self, cpus: usize, greatest_rate: f64) -> Vec<Series> {
        let all = self.series.iter().map(|&name| {
            let cases = self.cases(name, cpus, greatest_rate);
            Series { name, cases: cases.into_iter().filter(|it| self.targets.contains(&it.target)).collect() }
        });
        all.filter(|series| !series.cases.is_empty()).collect()
    }

    fn cases(&self, name: SeriesName, cpus: usize, greatest_rate: f64) -> Vec<Case> {
        use Target as C;
        match name {
            SeriesName::Cost => {
                // The series of owners and flows measure these targets, and bpftrace starts slowly.
                let elsewhere = [C::StatOwners, C::StatFlows, C::BpftraceOwners, C::BpftraceFlows];
                let targets = C::ALL.into_iter().filter(|it| !self.quick || !elsewhere.contains(it));
                targets.map(Case::new).collect()
            }
            SeriesName::Loss => self.losses(cpus, greatest_rate),
            SeriesName::Keys => {
                let keys = if self.quick { &KEYS[..3] } else { &KEYS };
                grid(&[C::Stat, C::Bpftrace], keys, |case, &keys| case.load = Load::Keys(keys))
            }
            SeriesName::Flows => {
                let flows = if self.quick { &QUICK_FLOWS[..] } else { &FLOWS };
                let targets = [C::Stat, C::StatFlows, C::BpftraceFlows];
                let zipf = (!self.quick).then_some(Load::ZipfFlows(ZIPF_FLOWS));
                let loads: Vec<_> = flows.iter().map(|&flows| Load::Flows(flows)).chain(zipf).collect();
                grid(&targets, &loads, |case, &load| case.load = load)
            }
            SeriesName::Owners => [C::Stat, C::StatOwners, C::BpftraceOwners].into_iter().map(Case::new).collect(),
            SeriesName::Snaplen => {
                let lengths = if self.quick { &SNAPLENS[..3] } else { &SNAPLENS };
                grid(&[C::TraceAll], lengths, |case, &length| case.snaplen = Some(length))
            }
            SeriesName::Cpus => {
                let powers = std::iter::successors(Some(1), |count| Some(2 * count));
                let counts: Vec<_> = powers.take_while(|&count| count < cpus).chain([cpus]).collect();
                grid(&[C::Stat, C::TraceAll, C::Bpftrace], &counts, |case, &count| case.cpus = count)
            }
            SeriesName::Loads => {
                let loads = [Load::FullBuffer, Load::ClosedPort, Load::Nftables, Load::Mix];
                let loads = if self.quick { &loads[3..] } else { &loads };
                grid(&[C::Stat, C::TraceAll, C::Bpftrace], loads, |case, &load| case.load = load)
            }
        }
    }

    /// Set rates on one processor, then full speed on one processor and on all of them.
    fn losses(&self, cpus: usize, greatest_rate: f64) -> Vec<Case> {
        use Target as C;
        let targets: &[_] = if self.quick {
            &[C::TraceAll, C::NetDmPacket]
        } else {
            &[C::Stat, C::TraceAll, C::NetDmSummary, C::NetDmPacket, C::Both, C::Bpftrace, C::Perf, C::DropwatchPacket]
        };
        let paces = if self.quick { &QUICK_PACES[..] } else { &PACES };
        #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^52")]
        let reached = paces.iter().filter(|&&pace| (pace as f64) < 0.9 * greatest_rate).map(|&pace| (Some(pace), 1));
        let mut rates: Vec<_> = reached.chain([(None, 1), (None, cpus)]).collect();
        rates.dedup();
        grid(targets, &rates, |case, &(pace, cpus)| (case.pace, case.cpus) = (pace, cpus))
    }
}

fn grid<T>(targets: &[Target], values: &[T], set: impl Fn(&mut Case, &T)) -> Vec<Case> {
    let cases = targets.iter().flat_map(|&target| {
        values.iter().map(move |value| (target, value)).map(|(target, value)| {
            let mut case = Case::new(target);
            set(&mut case, value);
            case
        })
    });
    cases.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(quick: bool) -> Options {
        let (targets, series) = (Target::ALL.into(), SeriesName::ALL.into());
        Options { quick, rounds: None, drops: None, targets, series }
    }

    #[test]
    fn all_targets_are_measured_for_cost() {
        for (quick, elsewhere) in [(true, 4), (false, 0)] {
            let series = options(quick).series(2, 800_000.0);
            assert_eq!(series[0].cases.len(), Target::ALL.len() - elsewhere);
            assert_eq!(series.len(), SeriesName::ALL.len());
        }
    }

    #[test]
    fn rates_beyond_the_generator_are_not_tried() {
        let series = options(false).series(1, 350_000.0);
        let loss = series.iter().find(|series| series.name == SeriesName::Loss).unwrap();
        let stat = loss.cases.iter().filter(|case| case.target == Target::Stat);
        let paces: Vec<_> = stat.map(|case| case.pace).collect();
        assert_eq!(paces, [Some(50_000), Some(100_000), Some(200_000), Some(300_000), None]);
    }

    #[test]
    fn processors_double_up_to_all_of_them() {
        let counts = |cpus| {
            let series = options(false).series(cpus, 1e6);
            let cases = series.into_iter().find(|series| series.name == SeriesName::Cpus).unwrap().cases;
            let stat = cases.into_iter().filter(|case| case.target == Target::Stat);
            stat.map(|case| case.cpus).collect::<Vec<_>>()
        };
        assert_eq!((counts(1), counts(2), counts(6)), (vec![1], vec![1, 2], vec![1, 2, 4, 6]));
    }

    #[test]
    fn counts_by_flow_and_by_owner_are_beside_plain_counts_and_a_peer() {
        let cases = |quick: bool, name| {
            let series = options(quick).series(2, 1e6);
            let cases = series.into_iter().find(|series| series.name == name).unwrap().cases;
            cases.into_iter().map(|case| (case.target.name(), case.load)).collect::<Vec<_>>()
        };
        let targets = ["stat", "stat-owners", "bpftrace-owners"];
        assert_eq!(cases(true, SeriesName::Owners), targets.map(|target| (target, Load::FullBuffer)));
        let flows = |loads: &[Load]| {
            let targets = ["stat", "stat-flows", "bpftrace-flows"].into_iter();
            targets.flat_map(|it| loads.iter().map(move |&load| (it, load))).collect::<Vec<_>>()
        };
        assert_eq!(cases(true, SeriesName::Flows), flows(&[64, 16_000].map(Load::Flows)));
        let uniform = [1, 64, 4000, 16_000].map(Load::Flows);
        assert_eq!(cases(false, SeriesName::Flows), flows(&[&uniform[..], &[Load::ZipfFlows(4000)]].concat()));
    }

    #[test]
    fn the_time_is_shared_by_weight() {
        let series = options(true).series(2, 1e6);
        assert_eq!(Options::share(&series, Duration::from_secs(150)), Duration::from_secs(40));
        assert_eq!(Options::share(&series[7..], Duration::from_secs(7)), Duration::from_secs(7));
    }

    #[test]
    fn unwanted_targets_are_left_out() {
        let options = Options { targets: vec![Target::Perf], ..options(false) };
        let series = options.series(2, 1e6);
        assert_eq!(series.iter().map(|series| series.name).collect::<Vec<_>>(), [SeriesName::Cost, SeriesName::Loss]);
    }
}
