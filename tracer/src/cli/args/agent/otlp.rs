//! The options of pushes, on the command line of `agent` and in its file.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::cli::args::units;
use crate::metrics::otlp::Endpoint;

/// More frequent pushes would have no reader.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

pub(super) const EXAMPLES: &str = "  droptrace agent --otlp http://prometheus:9090/api/v1/otlp\n";

/// Options of the command line and of the file, with the same names.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OtlpOptions {
    /// Push the metrics as well, to this URL with /v1/metrics appended
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) otlp: Option<String>,

    /// Push the metrics this often [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub(crate) otlp_interval: Option<Duration>,

    /// Headers for each push of metrics, such as a token: a file with lines `Name: value`
    #[arg(long, value_name = "FILE")]
    pub(crate) otlp_headers_file: Option<PathBuf>,

    /// Time limit of a push [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = units::duration, hide_short_help = true)]
    pub(crate) otlp_timeout: Option<Duration>,

    /// Name of this agent (service.instance.id) [default: the host's name]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) otlp_instance: Option<String>,

    /// Push samples of drops as log records, to this URL with /v1/logs appended
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) otlp_logs: Option<String>,

    /// Limit of pushed drops per second and CPU for each flow at a drop site and reason [default: 1]
    ///
    /// All flows at a drop site and reason together have eleven times as many. The kernel's drop monitor has no such limit.
    #[arg(long, value_name = "N", value_parser = units::number(NonZeroU32::MIN..=NonZeroU32::MAX))]
    pub(crate) otlp_logs_rate: Option<NonZeroU32>,

    /// Headers for each push of logs: a file with lines `Name: value`
    #[arg(long, value_name = "FILE")]
    pub(crate) otlp_logs_headers_file: Option<PathBuf>,
}

impl OtlpOptions {
    /// Returns these options, with missing ones taken from `other`.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            otlp: self.otlp.or(other.otlp),
            otlp_interval: self.otlp_interval.or(other.otlp_interval),
            otlp_headers_file: self.otlp_headers_file.or(other.otlp_headers_file),
            otlp_timeout: self.otlp_timeout.or(other.otlp_timeout),
            otlp_instance: self.otlp_instance.or(other.otlp_instance),
            otlp_logs: self.otlp_logs.or(other.otlp_logs),
            otlp_logs_rate: self.otlp_logs_rate.or(other.otlp_logs_rate),
            otlp_logs_headers_file: self.otlp_logs_headers_file.or(other.otlp_logs_headers_file),
        }
    }

    /// What differs from `before` and cannot change while an agent runs, by name.
    pub(crate) fn fixed(&self, before: &Self) -> [(&'static str, bool); 2] {
        [
            ("otlp-logs", self.otlp_logs.is_some() && before.otlp_logs.is_none()),
            ("otlp-logs-rate", self.otlp_logs_rate != before.otlp_logs_rate),
        ]
    }

    /// What counts when these are followed by `new` ones while an agent runs.
    #[must_use]
    pub(crate) fn reloaded(&self, mut new: Self) -> Self {
        new.otlp_logs_rate = self.otlp_logs_rate;
        if self.otlp_logs.is_none() {
            (new.otlp_logs, new.otlp_logs_headers_file) = (None, None);
        }
        new
    }

    /// Returns these options, with paths relative to `folder`.
    #[must_use]
    pub(crate) fn within(self, folder: &Path) -> Self {
        let within = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        Self {
            otlp_headers_file: within(self.otlp_headers_file),
            otlp_logs_headers_file: within(self.otlp_logs_headers_file),
            ..self
        }
    }
}

fn url(text: &str) -> Result<String, String> {
    match Endpoint::new(text, vec![]) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let span = units::duration(text)?;
    if span < SHORTEST_INTERVAL { Err("the shortest interval is 1s".into()) } else { Ok(span) }
}
