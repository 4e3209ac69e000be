//! The command line of `diagnose`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use droptrace_base::render::units;

use super::ShowArgs;

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace-fleet diagnose --prometheus http://prometheus:9090
  droptrace-fleet diagnose --prometheus https://mimir/prometheus --header 'X-Scope-OrgID: net' --range 6h
  droptrace-fleet diagnose --prometheus http://thanos:9090 --match 'cluster=\"a\"' --by rack --html fleet.html
  droptrace-fleet diagnose --prometheus http://prometheus:9090 --at 2026-11-24T03:00:00Z

The engine must scrape `droptrace agent` on the hosts, or receive its pushes. Each engine with the query API of Prometheus \
(/api/v1/query) works. The engine adds up the series by host and drop site, so its answers are small. Counts are exact, also \
across restarts of agents, as far as the engine has the samples. A host has the name in its label instance. --by accepts each \
label of droptrace_host_info.

--http-config names a file (TOML) with the settings that the engine needs:
  basic_auth = { username = \"me\", password_file = \"secret\" }     or password = \"…\"
  authorization = { credentials_file = \"token\" }                 or credentials = \"…\"; type = \"Bearer\"
  tls_config = { ca_file = \"ca.pem\" }                            instead of the system's certificates
  headers = { X-Scope-OrgID = \"net\" }

Exit status: 0 no findings, 1 failed, 2 wrong usage, 3 findings.";

/// Options of `diagnose`.
#[derive(Args, Clone, Debug)]
pub struct DiagnoseArgs {
    /// Address of the engine, with its path
    #[arg(long, value_name = "URL")]
    pub prometheus: String,

    /// Length of the time span to analyse, such as 1h or 30m; whole seconds
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1h")]
    pub range: Duration,

    /// Length of the time span before it that shows the usual drops; 0 for none
    #[arg(long, value_name = "TIME", value_parser = span_or_none, default_value = "1d")]
    pub baseline: Duration,

    /// End of the time span to analyse, as 2026-11-24T03:00:00Z or Unix seconds, instead of now
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub at: Option<f64>,

    /// Only agents whose series match, such as cluster="a"; may be given more than once
    #[arg(long = "match", value_name = "LABEL=\"VALUE\"")]
    pub matchers: Vec<String>,

    /// Labels that together identify an agent
    #[arg(long, value_name = "LABELS", value_delimiter = ',', default_value = "job,instance")]
    pub identity: Vec<String>,

    /// File with access settings: passwords, tokens, certificates, headers (see below)
    #[arg(long, value_name = "FILE")]
    pub http_config: Option<PathBuf>,

    /// Header of each request, such as 'X-Scope-OrgID: net'; may be given more than once
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,

    /// Time limit of each query
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "1m")]
    pub timeout: Duration,

    /// Largest size of one answer, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = units::number::<u64>(1..=1 << 20))]
    #[arg(hide_short_help = true)]
    pub max_answer: u64,

    /// Log more to stderr; -vv logs the queries
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Common options of all commands that show a fleet.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// Engines keep no more than a few years of data.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 10);

fn span(text: &str) -> Result<Duration, String> {
    let span = units::duration(text)?;
    if span.subsec_nanos() != 0 {
        return Err("whole seconds only, such as 1h or 90s".into());
    }
    if span > LONGEST { Err("ten years at most".into()) } else { Ok(span) }
}

fn span_or_none(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { span(text) }
}

fn moment(text: &str) -> Result<f64, String> {
    let by_calendar = || {
        let time = humantime::parse_rfc3339_weak(text).ok()?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())
    };
    let seconds = text.parse().ok().or_else(by_calendar).filter(|seconds| (0.0..1e11).contains(seconds));
    seconds.ok_or_else(|| "not a time: write it as 2026-11-24T03:00:00Z (UTC) or as Unix seconds".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span_or_none("0"), Ok(Duration::ZERO));
        for text in ["500ms", "0s", "11y", "1", "x"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert_eq!(moment("2026-11-24T03:00:00Z"), Ok(1_795_489_200.0));
        assert_eq!(moment("2026-11-24 03:00:00"), Ok(1_795_489_200.0));
        assert_eq!(moment("1795489200.5"), Ok(1_795_489_200.5));
        for text in ["yesterday", "-1", "NaN", "inf", "1e12", ""] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
