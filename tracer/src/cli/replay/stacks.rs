//! The call stacks of a recording.

use std::io;

use anyhow::{Result, bail};

use super::Replay;
use crate::backend::replay::Start;
use crate::domain::event::DropEvent;
use crate::domain::report::StatReport;
use crate::pipeline::stacks::Stacks;
use crate::pipeline::tally::Tally;
use crate::run::Consumer;

/// Adds up the drops and their call stacks.
#[derive(Default)]
pub(super) struct WithStacks {
    tally: Tally,
    stacks: Stacks,
}

impl Consumer for WithStacks {
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        self.tally.add(event);
        self.stacks.add(event);
        Ok(())
    }
}

impl WithStacks {
    /// The totals with the call stacks. It is an error if there are drops and none of them has a call stack; drops that are
    /// not in the result are reported as a warning.
    pub(super) fn report(self, replay: &Replay, start: &Start) -> Result<StatReport> {
        let Self { tally, stacks } = self;
        let mut report = replay.stat(start, tally);
        let sites = stacks.report(&report.drops);
        let drops: u64 = sites.iter().map(|site| site.sampled).sum();
        let shown: u64 = sites.iter().flat_map(|site| &site.stacks).map(|stack| stack.samples).sum();
        if drops > 0 && shown == 0 {
            bail!("no drop of the recording has a call stack: `droptrace trace --stack -o FILE.dtr` records them");
        }
        if shown < drops {
            tracing::warn!(
                "{} of {drops} drops are not shown: the recording has no call stack of them, or more than {} different ones",
                drops - shown,
                Stacks::MOST
            );
        }
        let unrecorded = replay.unrecorded();
        if unrecorded > 0 {
            tracing::warn!(
                "{unrecorded} drops of the recorded run are not shown: they have no record (droptrace trace --all)"
            );
        }
        report.stacks = Some(sites);
        Ok(report)
    }
}
