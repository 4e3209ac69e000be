//! What is measured, and how long it may take.

use std::time::Duration;

use super::load::Load;
use super::target::Target;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Within a minute instead of ten.
    pub quick: bool,
    /// Rounds of each series; none for as many as the time allows, up to nine.
    pub rounds: Option<usize>,
    /// Drops of one run; none for as many as fit the time.
    pub drops: Option<u64>,
    /// Who is measured.
    pub targets: Vec<Target>,
    /// What is measured.
    pub series: Vec<SeriesName>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesName {
    /// Each target, on one processor, as fast as it goes.
    Cost,
    /// Some targets at set rates.
    Loss,
    /// Some targets with many distinct keys.
    Keys,
    /// Records of several lengths.
    Snaplen,
    /// Some targets while more processors drop.
    Cpus,
    /// Some targets under other loads.
    Loads,
}

impl SeriesName {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 6] = [Self::Cost, Self::Loss, Self::Keys, Self::Snaplen, Self::Cpus, Self::Loads];

    /// The name, in reports and as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Loss => "loss",
            Self::Keys => "keys",
            Self::Snaplen => "snaplen",
            Self::Cpus => "cpus",
            Self::Loads => "loads",
        }
    }

    /// What it shows, in words.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Cost => "Cost of a drop",
            Self::Loss => "Drops accounted for, by rate",
            Self::Keys => "Cost by distinct keys",
            Self::Snaplen => "Cost by length of the record",
            Self::Cpus => "Cost by processors that drop",
            Self::Loads => "Cost by kind of drop",
        }
    }

    /// Its part of the time.
    const fn weight(self) -> u32 {
        match self {
            Self::Cost => 40,
            Self::Loss => 25,
            Self::Keys => 15,
            Self::Snaplen => 8,
            Self::Cpus => 12,
            Self::Loads => 20,
        }
    }
}

/// One target under one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) target: Target,
    pub(super) load: Load,
    /// Drops a second; none for as fast as it goes.
    pub(super) pace: Option<u64>,
    /// Processors that drop.
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

/// Drops a second that are tried, as far as the generator reaches them.
const PACES: [u64; 8] = [50_000, 100_000, 200_000, 300_000, 400_000, 500_000, 700_000, 1_000_000];
const QUICK_PACES: [u64; 2] = [100_000, 400_000];
const SNAPLENS: [u32; 5] = [0, 64, 128, 512, 1024];
const KEYS: [u16; 4] = [1, 64, 1000, 8000];

impl Options {
    /// How long all of it may take. One round of each is always made.
    pub(super) const fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 50 } else { 560 })
    }

    /// How long one run with nobody listening takes.
    pub(super) const fn run_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 300 })
    }

    pub(super) fn most_rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 9 })
    }

    /// The part of the time that is left that the first of these series may take.
    pub(super) fn share(series: &[Series], left: Duration) -> Duration {
        let weight = |series: &Series| series.name.weight();
        let all: u32 = series.iter().map(weight).sum();
        series.first().map_or(Duration::ZERO, |first| left * weight(first) / all.max(1))
    }

    /// `cpus` may be used, on one of which `greatest_rate` drops a second can be provoked.
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
            SeriesName::Cost => C::ALL.into_iter().map(Case::new).collect(),
            SeriesName::Loss => self.losses(cpus, greatest_rate),
            SeriesName::Keys => {
                let keys = if self.quick { &KEYS[..3] } else { &KEYS };
                grid(&[C::Stat, C::Bpftrace], keys, |case, &keys| case.load = Load::Keys(keys))
            }
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

    /// Set rates on one processor, then as fast as it goes on one and on all of them.
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
    fn everybody_is_measured_for_cost() {
        for quick in [true, false] {
            let series = options(quick).series(2, 800_000.0);
            assert_eq!(series[0].cases.len(), Target::ALL.len());
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
    fn the_time_is_shared_by_weight() {
        let series = options(true).series(2, 1e6);
        assert_eq!(Options::share(&series, Duration::from_mins(2)), Duration::from_secs(40));
        assert_eq!(Options::share(&series[5..], Duration::from_secs(7)), Duration::from_secs(7));
    }

    #[test]
    fn who_is_not_wanted_is_left_out() {
        let options = Options { targets: vec![Target::Perf], ..options(false) };
        let series = options.series(2, 1e6);
        assert_eq!(series.iter().map(|series| series.name).collect::<Vec<_>>(), [SeriesName::Cost, SeriesName::Loss]);
    }
}
