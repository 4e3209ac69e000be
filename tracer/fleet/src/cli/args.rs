//! What was typed for `droptrace-fleet`.

mod diagnose;
mod show;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use diagnose::DiagnoseArgs;
pub use droptrace_base::command::ExplainArgs;
pub use show::ShowArgs;

const EXAMPLES: &str = "\
Examples:
  droptrace-fleet diagnose --prometheus http://prometheus:9090     where it scrapes `droptrace agent`
  droptrace snapshot -o \"$(hostname).json.zst\"     on each host; then, with all files in one folder:
  droptrace-fleet merge snapshots/
  droptrace-fleet merge today/ --baseline yesterday/ --html fleet.html
  droptrace-fleet explain SOCKET_RCVBUFF           what this reason means, and what to do

It reports what the fleet drops most and, as findings: what is new since the baseline, which hosts and groups of hosts \
stand out, storms, hosts that lost drops, and hosts gone silent; each with what shows it, what it means and what to run \
next.

It needs no capabilities and no BPF; only diagnose needs a network.
Exit status: 0 nothing found, 1 failed, 2 wrong usage, 3 something was found.";

const MERGE_EXAMPLES: &str = "\
Examples:
  droptrace-fleet merge *.json.zst
  droptrace-fleet merge today/ --baseline yesterday/
  droptrace-fleet merge racks/ --by kernel --by folder     compare within kernel and rack
  droptrace-fleet merge today/ --format json | jq -r '.findings[] | [.severity, .title] | @tsv'

Snapshots of one host at different times add up; those that overlap are reported, and not added twice. What cannot be read \
is reported on stderr and in the results, and does not stop the rest.

A host stands out by comparison with those like it (--by): those of its group that drop for the same reason at all. \
Compared are logarithms of rates, by their median and median absolute deviation.

Exit status: 0 nothing found, 1 failed (also when nothing could be read), 2 wrong usage, 3 something was found.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  droptrace-fleet explain                      list all reasons
  droptrace-fleet explain SOCKET_RCVBUFF       one reason; lower case and SKB_DROP_REASON_ do as well";

/// Reports what many hosts drop, what of it is new, which hosts stand out, and what to do.
#[derive(Debug, Parser)]
#[command(name = "droptrace-fleet", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at what Prometheus, or a compatible engine, knows of the agents on many hosts
    #[command(after_help = diagnose::EXAMPLES)]
    Diagnose(Box<DiagnoseArgs>),
    /// Look at the snapshots of many hosts
    #[command(after_help = MERGE_EXAMPLES)]
    Merge(MergeArgs),
    /// Explain what a drop reason means, what causes it, and what to look at next
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
}

/// Options of `merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// Files that `droptrace snapshot` wrote, or folders of files that end in .json or .json.zst
    #[arg(value_name = "SNAPSHOT", required = true)]
    pub snapshots: Vec<PathBuf>,

    /// Compare with these: snapshots of an earlier time, or folders of them; may be given more than once
    #[arg(long, value_name = "SNAPSHOT")]
    pub baseline: Vec<PathBuf>,

    /// What all commands have that show a fleet.
    #[command(flatten)]
    pub show: ShowArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::analyse::{By, Options};

    fn options(line: &str) -> Options {
        let typed = Cli::try_parse_from(["droptrace-fleet", "merge", "x"].into_iter().chain(line.split_whitespace()));
        let Command::Merge(args) = typed.unwrap().command else { panic!("not merge") };
        args.show.options()
    }

    #[test]
    fn arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_not_typed_is_as_the_analysis_has_it() {
        assert_eq!(options(""), Options::default());
    }

    #[test]
    fn groups() {
        let by = options("--by class --by folder").by;
        assert_eq!(by, [By::Class, By::Label("folder".into())]);
        assert_eq!(options("--by nothing").by, []);
    }

    #[test]
    fn what_is_no_bound_is_refused() {
        for line in
            ["--deviations 0", "--growth NaN", "--min-packets -1", "--storm-rate inf", "--min-hosts 2", "--by ="]
        {
            let typed = ["droptrace-fleet", "merge", "x"].into_iter().chain(line.split(' '));
            let error = Cli::try_parse_from(typed).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
