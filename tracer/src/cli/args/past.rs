//! The options that show a time that is over, from the history of an agent.

mod moment;

use std::path::PathBuf;

use clap::Args;
use jiff::tz::TimeZone;

pub(crate) use moment::Moment;

use crate::backend::history::DEFAULT_FOLDER;
use crate::command::heading::PAST;
use crate::domain::event::Timestamp;
use crate::domain::past::Span;

/// The time span, and the folder of the history.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PastArgs {
    /// Show what `droptrace agent --history` recorded since this time, instead of drops as they happen
    ///
    /// A time is 02:00 (the last one), yesterday 02:00, 2026-11-30T02:00, -30m, or now, by this host's time zone. Needs no
    /// capabilities, only permission to read the files
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = PAST)]
    #[arg(conflicts_with_all = ["map_entries", "max_rows"])]
    pub(crate) since: Option<Moment>,

    /// The end of that time [default: now]
    ///
    /// 02:30 is the first one after --since
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "since", help_heading = PAST)]
    pub(crate) until: Option<Moment>,

    /// The agent's folder [default: /var/lib/droptrace/history]
    #[arg(long, value_name = "FOLDER", requires = "since", help_heading = PAST)]
    pub(crate) history: Option<PathBuf>,
}

impl PastArgs {
    /// The folder of the history.
    pub(crate) fn folder(&self) -> PathBuf {
        self.history.clone().unwrap_or_else(|| DEFAULT_FOLDER.into())
    }

    /// The span that was asked for, as it is at `now`. Where the clock was set back, the span has both hours.
    ///
    /// # Errors
    /// Returns what is wrong with the times.
    pub(crate) fn span(&self, now: Timestamp, zone: &TimeZone) -> Result<Span, String> {
        let since = self.since.as_ref().ok_or("there is no '--since'")?;
        let from = since.before(now, zone).map_err(|error| format!("--since {since}: {error}"))?;
        let to = match &self.until {
            None => now,
            Some(until) => until.behind(from, now, zone).map_err(|error| format!("--until {until}: {error}"))?,
        };
        if from > now {
            return Err(format!("--since {since}: that is in the future"));
        }
        if to <= from {
            let until = self.until.as_ref().map_or_else(|| "now".to_owned(), ToString::to_string);
            return Err(format!("--until {until}: that is not after --since {since}"));
        }
        Ok(Span { from, to })
    }
}

#[cfg(test)]
mod tests;
