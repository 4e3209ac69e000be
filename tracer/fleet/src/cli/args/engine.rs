//! Options of how an engine is queried.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use droptrace_base::render::units;

/// Options of how an engine is queried.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Address of the engine, with its path
    #[arg(long, value_name = "URL")]
    pub prometheus: String,

    /// Length of the time span to analyse, such as 1h or 30m; whole seconds
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1h")]
    pub range: Duration,

    /// Length of the time span before it that shows the usual drops; 0 for none
    #[arg(long, value_name = "TIME", value_parser = span_or_none, default_value = "1d")]
    pub baseline: Duration,

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span_or_none("0"), Ok(Duration::ZERO));
        for text in ["500ms", "0s", "11y", "1", "x"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
