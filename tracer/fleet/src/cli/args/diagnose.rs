//! The command line of `diagnose`.

use std::time::SystemTime;

use clap::Args;

use super::{EngineArgs, ShowArgs};

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
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// End of the time span to analyse, as 2026-11-24T03:00:00Z or Unix seconds, instead of now
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub at: Option<f64>,

    /// Log more to stderr; -vv logs the queries
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Common options of all commands that show a fleet.
    #[command(flatten)]
    pub show: ShowArgs,
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
        assert_eq!(moment("2026-11-24T03:00:00Z"), Ok(1_795_489_200.0));
        assert_eq!(moment("2026-11-24 03:00:00"), Ok(1_795_489_200.0));
        assert_eq!(moment("1795489200.5"), Ok(1_795_489_200.5));
        for text in ["yesterday", "-1", "NaN", "inf", "1e12", ""] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
