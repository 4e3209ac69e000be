//! The options of `agent`, on the command line and in its file.

mod history;
#[cfg_attr(not(feature = "otlp"), path = "agent/no_otlp.rs")]
mod otlp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

pub(crate) use history::HistoryOptions;
pub(crate) use otlp::OtlpOptions;

use super::{Source, units};
use crate::dimension::Dimensions;
use crate::filter::Filter;

/// The default port of the agent (docs/reference/agent.md has the reason for this one).
pub(crate) const DEFAULT_PORT: u16 = 23_870;

/// The longest interval: older metrics are stale.
const LONGEST_INTERVAL: Duration = Duration::from_hours(1);

const EXAMPLES: &str = "\
Examples:
  droptrace agent &
  curl http://127.0.0.1:23870/metrics
  droptrace agent --config /etc/droptrace/agent.toml
  droptrace agent --listen 0.0.0.0:23870 --web-config web.yml
  droptrace agent --history /var/lib/droptrace/history     and later: droptrace stat --since 02:00 --until 02:30
";

const NOTES: &str = "
The file of --config is TOML; its keys are the names of the options above: `max-series = 500`. Options on the command line \
override those in the file. After SIGHUP the agent reads both files again; it reports what is wrong, and keeps the previous \
settings then.

Paths: /metrics the metrics, /-/healthy whether the agent runs, /-/ready whether the metrics are there and fresh.
Capabilities, exit status and Ctrl-C are as in `droptrace --help`.";

/// The end of the help.
pub(super) fn examples() -> String {
    [EXAMPLES, otlp::EXAMPLES, NOTES].concat()
}

/// Options of `agent`.
#[derive(Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    /// Read options from this file (TOML); options on the command line override it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Options that the file may contain as well.
    #[command(flatten)]
    pub(crate) options: AgentOptions,

    /// Log more to stderr; -vv also logs messages of the BPF program
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Options of the command line and of the file, with the same names.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentOptions {
    /// Serve the metrics here; beyond this host only with TLS or --listen-insecure [default: 127.0.0.1:23870]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = units::address)]
    pub(crate) listen: Option<SocketAddr>,

    /// Let anyone who reaches --listen read the metrics in clear text, also from other hosts
    #[arg(long)]
    pub(crate) listen_insecure: bool,

    /// TLS and passwords, in the format of --web.config.file of Prometheus' exporters
    #[arg(long, value_name = "FILE")]
    pub(crate) web_config: Option<PathBuf>,

    /// Read the totals this often [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub(crate) interval: Option<Duration>,

    /// Limit of the series of drops; all further drops are in one series for all others [default: 500]
    #[arg(long, value_name = "N", value_parser = units::number::<u16>(1..=10_000))]
    pub(crate) max_series: Option<u16>,

    /// A series of another network namespace or of an owner expires when it has not risen for this long; its count moves
    /// to one series for all that expired [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) expire_after: Option<Duration>,

    /// Distinguish drop sites within a function by the label `offset`: bytes from the function's start
    #[arg(long)]
    pub(crate) offset_label: bool,

    /// Add labels that say whose packets were dropped, by these words, separated by commas: pod, container, unit (of
    /// systemd), cgroup, socket; series of owners end as those of namespaces do
    #[arg(long, value_name = "DIMENSION,…", value_parser = Dimensions::owners)]
    pub(crate) owners: Option<Dimensions>,

    /// Capture backend; auto selects the first that works, and reports what it loses [default: auto]
    #[arg(long, value_enum, hide_possible_values = true, value_parser = one_source())]
    #[arg(value_name = "auto|ebpf|net-dm|counters")]
    pub(crate) source: Option<Source>,

    /// Count only drops in this network namespace: self, an inode number, pid:N, a name under /run/netns, or a path
    #[arg(long, value_name = "TARGET")]
    pub(crate) netns: Option<String>,

    /// Count only drops that match this expression; see `droptrace trace --help`
    #[arg(long, value_name = "EXPRESSION", value_parser = Filter::parse)]
    pub(crate) filter: Option<Filter>,

    /// Do not read the kernel's counters, which show losses outside `kfree_skb`
    #[arg(long)]
    pub(crate) no_counters: bool,

    /// Aggregation keys that have room in the kernel between two readings; drops of further keys may be counted by reason only [default: 8192; less
    /// with more than 128 CPUs]
    #[arg(long, value_name = "N", value_parser = units::number::<u32>(1..=1_048_576))]
    #[arg(hide_short_help = true)]
    pub(crate) map_entries: Option<u32>,

    /// Options of the history.
    #[command(flatten, next_help_heading = "History on disk")]
    pub(crate) history: HistoryOptions,

    /// Options of pushes.
    #[command(flatten, next_help_heading = "Push by OTLP over HTTP")]
    pub(crate) otlp: OtlpOptions,
}

impl AgentOptions {
    /// Returns these options, with missing ones taken from `other`.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        let Self {
            listen,
            listen_insecure,
            web_config,
            interval,
            max_series,
            expire_after,
            offset_label,
            owners,
            source,
            netns,
            filter,
            no_counters,
            map_entries,
            history,
            otlp,
        } = self;
        Self {
            listen: listen.or(other.listen),
            listen_insecure: listen_insecure || other.listen_insecure,
            web_config: web_config.or(other.web_config),
            interval: interval.or(other.interval),
            max_series: max_series.or(other.max_series),
            expire_after: expire_after.or(other.expire_after),
            offset_label: offset_label || other.offset_label,
            owners: owners.or(other.owners),
            source: source.or(other.source),
            netns: netns.or(other.netns),
            filter: filter.or(other.filter),
            no_counters: no_counters || other.no_counters,
            map_entries: map_entries.or(other.map_entries),
            history: history.or(other.history),
            otlp: otlp.or(other.otlp),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let span = units::interval(text)?;
    if span > LONGEST_INTERVAL { Err("the longest interval is 1h".into()) } else { Ok(span) }
}

/// Two backends at once would count drops twice.
fn one_source() -> impl clap::builder::TypedValueParser<Value = Source> {
    use clap::builder::TypedValueParser as _;
    clap::builder::EnumValueParser::<Source>::new().try_map(|source| match source {
        Source::Both => Err("an agent counts each drop once, so it uses one backend; `droptrace compare` uses both"),
        source => Ok(source),
    })
}
