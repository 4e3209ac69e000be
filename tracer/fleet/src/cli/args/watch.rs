//! The command line of `watch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use droptrace_base::command::heading;
use droptrace_base::render::units;

use super::{BoundArgs, EngineArgs};

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace-fleet watch --prometheus http://prometheus:9090 | jq -r 'select(.phase == \"opened\") | .finding.title'
  droptrace-fleet watch --prometheus http://prometheus:9090 --alertmanager http://alertmanager:9093 --state watch.json
  droptrace-fleet watch --prometheus http://prometheus:9090 --state watch.json --rounds 1     from a timer

Each round analyses the fleet as `diagnose` does. A finding opens in the first round that has it, and closes when --close-after \
rounds have not had it, so that one that comes and goes stays open. Its identity (id) is the same in each round, also after a \
restart, whichever hosts have it. A round that fails, because the engine cannot be queried, opens and closes nothing.

stdout has a line of JSON for each finding and round: opened, ongoing or closed, with the commands to run on the hosts. \
Alertmanager gets the same as alerts named DroptraceFinding, with the labels finding, kind, severity, reason and so on. If it \
cannot be reached, that is reported on stderr, and the next round sends all findings again. If this program ends, Alertmanager \
closes the findings after four intervals. With --rounds 1 from a timer, let --interval be the timer's.

--timeout is also the time for all findings of a round to reach Alertmanager. `droptrace-fleet diagnose --help` describes the files \
of --http-config and --alertmanager-config.

Exit status: 0 no findings are open after --rounds, 1 failed (also if the last round did), 2 wrong usage, 3 findings are open.";

/// Options of `watch`.
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Time from the start of a round to the next
    #[arg(long, value_name = "TIME", value_parser = units::interval, default_value = "5m", help_heading = heading::RUN)]
    pub interval: Duration,

    /// End after this number of rounds
    #[arg(long, value_name = "N", value_parser = units::number::<u64>(1..=u64::MAX), help_heading = heading::RUN)]
    pub rounds: Option<u64>,

    /// Close a finding that was absent for this number of rounds
    #[arg(long, value_name = "N", value_parser = units::number::<u32>(1..=10_000), default_value_t = 3)]
    #[arg(help_heading = heading::RUN)]
    pub close_after: u32,

    /// Keep the open findings in this file, so that a restart neither closes nor opens any; closed ones until they are sent
    #[arg(long, value_name = "FILE", help_heading = heading::RUN)]
    pub state: Option<PathBuf>,

    /// Send the findings to this Alertmanager; the address may have a path
    #[arg(long, value_name = "URL", help_heading = "Alertmanager")]
    pub alertmanager: Option<String>,

    /// File with access settings of Alertmanager, as --http-config of the engine
    #[arg(long, value_name = "FILE", requires = "alertmanager", help_heading = "Alertmanager")]
    pub alertmanager_config: Option<PathBuf>,

    /// Address that alerts lead to, such as a dashboard, instead of the engine's
    #[arg(long, value_name = "URL", requires = "alertmanager", help_heading = "Alertmanager")]
    pub page: Option<String>,

    /// Log more to stderr; -vv logs the queries
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// The thresholds of findings.
    #[command(flatten)]
    pub bounds: BoundArgs,
}
