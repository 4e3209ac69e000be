//! `droptrace doctor`: the backends that work here, and how to enable the others.

use std::io::Write as _;

use anyhow::{Result, bail};

use super::args::{DoctorArgs, Format};
use crate::backend::net_dm::{self, Repair};
use crate::render::output::Output;
use crate::{doctor, run};

/// Examines the host. Fails when no capture backend works.
pub(super) async fn run(args: &DoctorArgs) -> Result<()> {
    if args.repair {
        return repair().await;
    }
    let mut output = Output::open(args.results.file.output.as_deref())?;
    let diagnosis = doctor::examine(run::host()).await;
    match args.results.format {
        Format::Text => doctor::write_text(&mut output, &diagnosis)?,
        Format::Json => doctor::write_json(&mut output, &diagnosis)?,
    }
    output.flush()?;
    if diagnosis.selected().is_none() {
        bail!("no capture backend works here; the reasons are above");
    }
    Ok(())
}

/// Restores the drop monitor, and says what was done.
async fn repair() -> Result<()> {
    let repaired = net_dm::repair().await.map_err(|error| run::explained(&error))?;
    let done = match repaired {
        Repair::Nothing => "nothing to repair: no run of droptrace left the drop monitor changed",
        Repair::Stale => {
            "nothing to repair: the machine was restarted, or another process has changed the drop monitor since"
        }
        Repair::Restored => {
            "repaired: stopped the drop monitor and restored its settings, which a killed run of droptrace had changed"
        }
        Repair::InUse => bail!(
            "the run of droptrace that changed the drop monitor still runs; end it with Ctrl-C or SIGTERM, and it restores the drop monitor"
        ),
        Repair::Untrusted => bail!("the drop monitor is unchanged: the note of the change cannot be trusted"),
    };
    let mut output = Output::open(None)?;
    writeln!(output, "{done}")?;
    Ok(output.flush()?)
}
