//! `droptrace-fleet merge`: the fleet as described by snapshots.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use droptrace_base::outside::{printable, say};

use super::NAME;
use super::args::{MergeArgs, ShowArgs};
use super::progress::Progress;
use super::show::Show;
use crate::merge::{Files, Loaded, load};
use crate::model::Fleet;
use crate::report::{Input, Refused};

/// The most unreadable files that are listed on stderr; the results list all of them.
const LISTED: usize = 20;

/// Reads the snapshots, analyses the fleet, and shows the report.
pub(super) fn run(args: &MergeArgs) -> Result<ExitCode> {
    // The files are listed before anything is written, so that no output is among them.
    let (snapshots, baseline) = (Files::find(&args.snapshots), Files::find(&args.baseline));
    // A bad path must be known before the work starts.
    let show = Show::open(&args.show, snapshots.paths().chain(baseline.paths()))?;
    let Loaded { mut fleet, mut input } = read(snapshots, &args.show, "snapshots")?;
    with_baseline(&mut fleet, &mut input, baseline, &args.baseline, &args.show)?;
    show.fleet(&fleet, input)
}

/// Reads the snapshots of the baseline, if there is one, and gives them to the fleet.
pub(super) fn with_baseline(
    fleet: &mut Fleet,
    input: &mut Input,
    files: Files,
    named: &[PathBuf],
    args: &ShowArgs,
) -> Result<()> {
    if !named.is_empty() {
        let Loaded { fleet: baseline, input: of_baseline } = read(files, args, "snapshots of the baseline")?;
        fleet.baseline = Some(Box::new(baseline));
        let Input { read, refused, .. } = of_baseline;
        (input.baseline_read, input.baseline_refused) = (read, refused);
    }
    Ok(())
}

/// Reads snapshots, shows the progress, and says which files cannot be read.
///
/// # Errors
/// Fails if no file can be read.
pub(super) fn read(files: Files, args: &ShowArgs, what: &str) -> Result<Loaded> {
    let mut progress = Progress::new(what);
    let loaded = load(files, args.options().storm_rate, &mut |read, all| progress.show(read, all));
    drop(progress);
    list(&loaded.input.refused);
    if loaded.input.read == 0 {
        let Input { refused, passed_over, .. } = &loaded.input;
        let (refused, names) = (refused.len(), "names of snapshots end in .json or .json.zst");
        bail!("no {what} could be read: {refused} refused, {passed_over} other files passed over ({names})");
    }
    Ok(loaded)
}

fn list(refused: &[Refused]) {
    for Refused { file, why } in refused.iter().take(LISTED) {
        say(NAME, format_args!("{}: {}", printable(file), printable(why)));
    }
    if refused.len() > LISTED {
        say(NAME, format_args!("… and {} more that could not be read", refused.len() - LISTED));
    }
}
