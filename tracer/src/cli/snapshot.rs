//! `droptrace snapshot`: the drops of a host over a time span, as one document.

use anyhow::{Context, Result};
use std::sync::Arc;

use super::args::SnapshotArgs;
use super::listen;
use crate::identity::{devices, netns};
use crate::kernel::build_id;
use crate::kernel::running::RunningKernel;
use crate::outside::say;
use crate::render::output::Output;
use crate::run::{Options, Session, Stop, TotalsOnly, WantedOwners, follow};
use crate::snapshot::{self, Facts};

/// Counts for the given time, then writes the document.
pub(super) async fn run(args: &SnapshotArgs, kernel: &Arc<RunningKernel>) -> Result<()> {
    let mut output = Output::open(args.file.output.as_deref())?;
    let mut stop = Stop::new(Some(args.duration))?.while_read(&output);
    let owners = WantedOwners { cgroups: args.owners.is_some(), ..WantedOwners::default() };
    let options = Options { owners, ..listen::options(&args.common(), None, kernel)? };
    let mut session = Session::start(&options).await?;
    stop.start_clock();
    let (duration, title) = (humantime::format_duration(args.duration), listen::title(session.backend()));
    say("droptrace", format_args!("counting drops for {duration} ({title}); Ctrl-C ends"));
    let ended = follow(&mut session, &mut stop, &mut TotalsOnly).await;
    // The counts are written however the run ended.
    let stopped = session.stop(&mut TotalsOnly).await;
    let report = session.stat_report()?;
    let facts = Facts {
        machine: snapshot::machine(),
        build_id: build_id::of_the_kernel(),
        devices: &devices::of_this_namespace(),
        own_netns: netns::own().unwrap_or(0),
        backend: session.backend(),
        unavailable: session.unavailable(),
        filter: args.filter.as_ref(),
        owners: args.owners.as_ref(),
    };
    let mut snapshot =
        snapshot::take(&report, &facts).context("a number of the ledger is too large for the document")?;
    if let Some(left_out) = snapshot::fit(&mut snapshot)? {
        say("droptrace", left_out);
    }
    snapshot::write(&mut output, &snapshot)?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    session.warn_of_unknown_owners();
    ended.and(stopped)
}
