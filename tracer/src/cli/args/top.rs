//! The command line of `top`.

use std::time::Duration;

use clap::Args;

use super::{CommonArgs, FilterWords, HideArgs, PastArgs, StatArgs};
use crate::dimension::Dimensions;
use crate::render::rank::Sort;
use crate::render::units;
use crate::sink::StatFormat;

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace top                          watch drops as they happen; `?` shows the keys
  droptrace top not usual                count only drops that healthy hosts do not often have
  droptrace top tcp port 443             count only packets of these connections
  droptrace top --by reason,process      rows by process as well
  droptrace top --since 02:00            what the agent counted since then (docs/reference/history.md)
  droptrace top --netns web -o last.txt  write the table of the whole run to a file when the screen is left

Keys: arrows choose a row, Enter opens it, / filters, s sorts, g groups, x hides the usual, Space freezes, q quits.
Words on the command line are a filter in the kernel; the filter of the key / selects among the rows.
Without a terminal, droptrace shows the table of `stat` instead.

Capabilities, exit status and Ctrl-C are as in `droptrace --help`.";

/// Options of `top`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopArgs {
    /// Read the totals this often [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = units::interval)]
    pub(crate) interval: Option<Duration>,

    /// Group drops by these dimensions, separated by commas, as `stat --by` does; the key g groups by others
    /// [default: reason, site, netns and the owner]
    #[arg(long, value_name = "DIMENSION,…")]
    pub(crate) by: Option<Dimensions>,

    /// The time that is over.
    #[command(flatten)]
    pub(crate) past: PastArgs,

    /// Common options of all commands.
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// The words of a filter.
    #[command(flatten)]
    pub(crate) words: FilterWords,
}

impl TopArgs {
    /// The same run without a screen.
    pub(crate) fn without_screen(&self) -> StatArgs {
        StatArgs {
            interval: self.interval,
            top: None,
            by: self.by.clone(),
            stack: false,
            explain: false,
            retransmits: false,
            format: StatFormat::Text,
            csv: false,
            hide: HideArgs::default(),
            fail_if: vec![],
            past: self.past.clone(),
            sort: Sort::Rate,
            common: self.common.clone(),
        }
    }
}
