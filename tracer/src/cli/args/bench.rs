//! The command line of `droptrace bench`.

use std::num::{NonZeroU64, NonZeroUsize};

use clap::Args;
use droptrace_bench::{Options, SeriesName, Target};

use super::{Results, units};

const EXAMPLES: &str = "\
Examples:
  droptrace bench --quick                measure the cost of tracing, within a minute
";

const HTML_EXAMPLE: &str = if cfg!(feature = "html") {
    "  droptrace bench --html bench.html      measure all series, within ten minutes, with plots\n"
} else {
    "  droptrace bench                        measure all series, within ten minutes\n"
};

const NOTES: &str = "  droptrace bench --series owners,flows  measure counts by owner and by flow, with bpftrace beside them
  droptrace bench --series cost --only nothing,stat,bpftrace --rounds 20

The benchmark provokes drops in a network namespace of its own, which ends with the run; it does not change the network \
of the host. Other programs (bpftrace, perf, dropwatch, retis) are measured if they are on PATH; the report lists a program \
that does not start, with the error of that program. The machine should do nothing else meanwhile.

Capabilities: root, or CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW for the load, and those of each tool. Without them
the load runs in a user namespace, if the kernel allows one, and the benchmark measures only drops without a tracer.
Ctrl-C ends the benchmark; the report then contains the completed measurements.";

/// The end of the help.
pub(super) fn examples() -> String {
    [EXAMPLES, HTML_EXAMPLE, NOTES].concat()
}

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// Measure less: within a minute instead of ten
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure only these series
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_enum)]
    pub(crate) series: Vec<SeriesName>,

    /// Measure only these targets: droptrace with its capture backends, and other tools
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Target>,

    /// Rounds of each series [default: what the time allows, at most 9, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = units::positive::<NonZeroUsize>)]
    pub(crate) rounds: Option<NonZeroUsize>,

    /// Number of drops in one run [default: as many as take about 0.3 s, or 0.1 s with --quick]
    #[arg(long, value_name = "N", value_parser = units::positive::<NonZeroU64>)]
    pub(crate) drops: Option<NonZeroU64>,

    /// Also write the results to this file as a page with plots
    #[cfg(feature = "html")]
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<std::path::PathBuf>,

    /// Form and destination of the results.
    #[command(flatten)]
    pub(crate) results: Results,
}

impl BenchArgs {
    /// The options in the form that the benchmark uses.
    pub(crate) fn options(&self) -> Options {
        let all = |typed: &[Target]| if typed.is_empty() { Target::ALL.into() } else { typed.to_vec() };
        Options {
            quick: self.quick,
            rounds: self.rounds.map(Into::into),
            drops: self.drops.map(Into::into),
            targets: all(&self.only),
            series: if self.series.is_empty() { SeriesName::ALL.into() } else { self.series.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn options(line: &str) -> Options {
        let Command::Bench(args) = Cli::try_parse_from(line.split(' ')).unwrap().into_command() else {
            panic!("{line}: not bench")
        };
        args.options()
    }

    #[test]
    fn nothing_typed_means_all() {
        let all = options("droptrace bench");
        assert_eq!((all.targets.len(), all.series.len(), all.rounds), (Target::ALL.len(), SeriesName::ALL.len(), None));
    }

    #[test]
    fn names_are_as_in_reports() {
        let some = options("droptrace bench --quick --series cost,loss --only net-dm-packet --only stat --rounds 2");
        assert_eq!(some.targets, [Target::NetDmPacket, Target::Stat]);
        assert_eq!((some.series, some.rounds), (vec![SeriesName::Cost, SeriesName::Loss], Some(2)));
        assert!(Cli::try_parse_from(["droptrace", "bench", "--rounds", "0"]).is_err());
    }
}
