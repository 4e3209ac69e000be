//! The command line of `droptrace-fleet`.

mod collect;
mod diagnose;
mod engine;
mod show;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use collect::CollectArgs;
pub use diagnose::DiagnoseArgs;
pub(crate) use droptrace_base::command::ExplainArgs;
pub use engine::EngineArgs;
pub use show::{BoundArgs, ShowArgs};
pub use watch::WatchArgs;

const EXAMPLES: &str = "\
Examples:
  droptrace-fleet diagnose --prometheus http://prometheus:9090     where it scrapes `droptrace agent`
  droptrace snapshot -o \"$(hostname).json.zst\"     on each host; then, with all files in one folder:
  droptrace-fleet merge snapshots/
  droptrace-fleet collect --hosts hosts.txt        the same through ssh, without anything in between
  droptrace-fleet merge today/ --baseline yesterday/ --html fleet.html
  droptrace-fleet watch --prometheus http://prometheus:9090 --alertmanager http://alertmanager:9093
  droptrace-fleet explain SOCKET_RCVBUFF           the meaning of this reason, and what to do

It reports what the fleet drops most and, as findings: drops that are new since the baseline, hosts and groups of hosts that \
stand out, storms, hosts that lost drops, and hosts gone silent; each with its evidence, its meaning and the commands to run \
next.

It needs no capabilities and no BPF; only collect, diagnose and watch need a network.
Exit status: 0 no findings, 1 failed, 2 wrong usage, 3 findings; of collect also 4: some hosts failed.";

const MERGE_EXAMPLES: &str = "\
Examples:
  droptrace-fleet merge *.json.zst
  droptrace-fleet merge today/ --baseline yesterday/
  droptrace-fleet merge racks/ --by kernel --by folder     compare within kernel and rack
  droptrace-fleet merge today/ --format json | jq -r '.findings[] | [.severity, .title] | @tsv'

Snapshots of one host at different times add up; those that overlap are reported, and not added twice. Files that cannot be read \
are reported on stderr and in the results, and do not stop the rest.

A host stands out by comparison with its own past if the baseline has it, and otherwise with those like it (--by): those of its \
group that drop for the same reason at all. Of the hosts and groups that stand out, the share --false-discoveries may be wrong.

Exit status: 0 no findings, 1 failed (also if no file could be read), 2 wrong usage, 3 findings.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  droptrace-fleet explain                      list all reasons
  droptrace-fleet explain SOCKET_RCVBUFF       one reason; lower case and SKB_DROP_REASON_ do as well";

/// Reports the drops of many hosts: which are new, which hosts stand out, and what to do.
#[derive(Debug, Parser)]
#[command(name = "droptrace-fleet", version, after_help = EXAMPLES)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make snapshots on many hosts now, through ssh or kubectl, and analyse them
    #[command(after_help = collect::EXAMPLES)]
    Collect(Box<CollectArgs>),
    /// Analyse the drops that Prometheus, or a compatible engine, has of the agents on many hosts
    #[command(after_help = diagnose::EXAMPLES)]
    Diagnose(Box<DiagnoseArgs>),
    /// Analyse the snapshots of many hosts
    #[command(after_help = MERGE_EXAMPLES)]
    Merge(MergeArgs),
    /// Analyse the fleet again and again, and report findings that open and close, also to Alertmanager
    #[command(after_help = watch::EXAMPLES)]
    Watch(Box<WatchArgs>),

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

    /// Common options of all commands that show a fleet.
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
        for line in [
            "--false-discoveries 0",
            "--false-discoveries 1",
            "--min-times 0.5",
            "--min-host-packets 0",
            "--growth NaN",
            "--min-packets -1",
            "--storm-rate inf",
            "--min-hosts 2",
            "--by =",
        ] {
            let typed = ["droptrace-fleet", "merge", "x"].into_iter().chain(line.split(' '));
            let error = Cli::try_parse_from(typed).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
