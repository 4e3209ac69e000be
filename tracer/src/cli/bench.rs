//! `droptrace bench`: what it costs to listen, and what is lost under load.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::args::{BenchArgs, Format};
use crate::bench::{self, BenchCapabilities, Report, Stopped};
use crate::outside::to_json;
use crate::render::output::Output;
use crate::run::Stop;

/// To be called before there are threads.
pub(super) fn prepare() {
    if bench::acquire_capabilities() == BenchCapabilities::UserNamespace {
        say(
            "without CAP_SYS_ADMIN the load runs in a user namespace, from where nobody can listen to drops: what they \
             take by themselves is measured; run `droptrace bench` as root to compare listeners",
        );
    }
}

/// Measures, and shows the report.
pub(super) async fn run(args: &BenchArgs) -> Result<()> {
    let (mut output, page) = Output::open_apart(args.output.as_deref(), args.html.as_deref(), [])?;
    let report = measure(args).await?;
    match args.format {
        Format::Text => bench::write_text(&mut output, &report)?,
        Format::Json => {
            to_json(&mut output, &report)?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    if let Some(mut page) = page {
        bench::write_html(&mut page, &report)?;
        page.flush()?;
    }
    Ok(())
}

/// On a thread of its own, which the programs that are measured end with.
async fn measure(args: &BenchArgs) -> Result<Report> {
    let (stopped, options) = (Stopped::default(), args.options());
    let mut stop = Stop::new(None)?;
    let on_thread = stopped.clone();
    let mut bench = tokio::task::spawn_blocking(move || bench::run(&options, &on_thread, &mut |line: &str| say(line)));
    let ended = tokio::select! {
        ended = &mut bench => ended,
        () = stop.wait() => {
            say("ending");
            stopped.set();
            bench.await
        }
    };
    ended.context("the benchmark's thread ended without a result")?
}

/// Progress, for whoever looks; nobody has to.
fn say(line: &str) {
    _ = writeln!(io::stderr(), "droptrace: {line}");
}
