//! The command line of `droptrace bench`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use droptrace_bench::{Options, SeriesName, Target};

use super::Format;

const EXAMPLES: &str = "\
Examples:
  droptrace bench --quick                what it costs to listen, within a minute
";

const HTML_EXAMPLE: &str = if cfg!(feature = "html") {
    "  droptrace bench --html bench.html      all of it, within ten minutes, with plots\n"
} else {
    "  droptrace bench                        all of it, within ten minutes\n"
};

const NOTES: &str = "\
  droptrace bench --series cost --only nothing,stat,bpftrace --rounds 20

The load is dropped in a network namespace that is made for it and ends with the run: nothing of the host's network is \
touched. Other programs (bpftrace, perf, dropwatch, retis) are measured if they are on PATH; who does not start is \
listed with its own error. The machine should do nothing else meanwhile.

Capabilities: root, or CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW for the load, and those of each tool. Without them
the load runs in a user namespace, if there may be one: then only what drops take by themselves is measured.
Ctrl-C ends it, and shows what was measured by then.";

/// The end of the help.
pub(super) fn examples() -> String {
    [EXAMPLES, HTML_EXAMPLE, NOTES].concat()
}

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Measure less: within a minute instead of ten
    #[arg(long)]
    pub quick: bool,

    /// Measure only these
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_enum)]
    pub series: Vec<SeriesName>,

    /// Measure only with these listening
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_enum)]
    pub only: Vec<Target>,

    /// Rounds of each series [default: what the time allows, at most 9, or 3 with --quick]
    #[arg(long, value_name = "N")]
    pub rounds: Option<NonZeroUsize>,

    /// Drops of one run [default: about 0.3 s of them, or 0.1 s with --quick]
    #[arg(long, value_name = "N")]
    pub drops: Option<NonZeroU64>,

    /// Write a page with plots to this file as well
    #[cfg(feature = "html")]
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Write the results to this file instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl BenchArgs {
    /// The options in the form that the benchmark uses.
    pub fn options(&self) -> Options {
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
        assert_eq!((all.targets.len(), all.series.len(), all.rounds), (Target::ALL.len(), 6, None));
    }

    #[test]
    fn names_are_as_in_reports() {
        let some = options("droptrace bench --quick --series cost,loss --only net-dm-packet --only stat --rounds 2");
        assert_eq!(some.targets, [Target::NetDmPacket, Target::Stat]);
        assert_eq!((some.series, some.rounds), (vec![SeriesName::Cost, SeriesName::Loss], Some(2)));
        assert!(Cli::try_parse_from(["droptrace", "bench", "--rounds", "0"]).is_err());
    }
}
