//! `droptrace doctor`: the backends that work here, and how to enable the others.

use std::io::Write as _;

use anyhow::{Result, bail, ensure};

use super::args::{DoctorArgs, Format};
use crate::backend::net_dm;
use crate::render::output::Output;
use crate::{doctor, run};

/// Examines the host. Fails when no capture backend works.
pub(super) async fn run(args: &DoctorArgs) -> Result<()> {
    if args.repair {
        return repair().await;
    }
    let mut output = Output::open(args.output.as_deref())?;
    let diagnosis = doctor::examine(run::host()).await;
    match args.format {
        Format::Text => doctor::write_text(&mut output, &diagnosis)?,
        Format::Json => doctor::write_json(&mut output, &diagnosis)?,
    }
    output.flush()?;
    if diagnosis.selected().is_none() {
        bail!("no capture backend works here; the reasons are above");
    }
    Ok(())
}

async fn repair() -> Result<()> {
    ensure!(
        net_dm::repair().await?,
        "the drop monitor is unchanged: the run of droptrace that changed it still runs, or its note of the change is not \
         to be trusted"
    );
    Ok(())
}
