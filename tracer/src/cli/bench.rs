//! `droptrace bench`: what it costs to listen, and what is lost under load.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use droptrace_bench::{self as bench, BenchCapabilities, LocalHost, Report, Stopped};

use super::args::{BenchArgs, Format};
use crate::backend::net_dm::{Found, NetDmSource};
use crate::outside::to_json;
#[cfg(feature = "html")]
use crate::render::html::{Maker, Secrets};
use crate::render::output::Output;
use crate::run::{Stop, host};

/// To be called before there are threads.
pub(super) fn prepare() {
    if bench::acquire_capabilities() == BenchCapabilities::UserNamespace {
        say(
            "without CAP_SYS_ADMIN the load runs in a user namespace, from where nobody can listen to drops: what they \
             take by themselves is measured; run `droptrace bench` as root to compare all targets",
        );
    }
}

/// Measures, and shows the report.
pub(super) async fn run(args: &BenchArgs) -> Result<()> {
    #[cfg(not(feature = "html"))]
    let mut output = Output::open(args.results.file.output.as_deref())?;
    #[cfg(feature = "html")]
    let (mut output, page) = Output::open_apart(args.results.file.output.as_deref(), args.html.as_deref(), [])?;
    let report = measure(args).await?;
    match args.results.format {
        Format::Text => bench::write_text(&mut output, &report)?,
        Format::Json => {
            to_json(&mut output, &report)?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    #[cfg(feature = "html")]
    if let Some(mut page) = page {
        let program = format!("droptrace {}", report.version);
        bench::write_html(&mut page, &report, &Maker::here(program, Secrets::default()))?;
        page.flush()?;
    }
    Ok(())
}

/// On a thread of its own, which the programs that are measured end with.
async fn measure(args: &BenchArgs) -> Result<Report> {
    let (stopped, options) = (Stopped::default(), args.options());
    let host = LocalHost { names: host(), monitor_runs };
    let mut stop = Stop::new(None)?;
    let on_thread = stopped.clone();
    let mut bench =
        tokio::task::spawn_blocking(move || bench::run(&options, &host, &on_thread, &mut |line: &str| say(line)));
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

/// Whether the drop monitor runs. To be called on a thread that has no runtime.
fn monitor_runs() -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.is_ok_and(|runtime| runtime.block_on(NetDmSource::probe()).is_ok_and(is_running))
}

/// The owner of the monitor does not matter, because the whole host has only one.
const fn is_running(found: Found) -> bool {
    match found {
        Found::Unused => false,
        Found::InUse(_) => true,
        // A droptrace that was killed left its settings, which other programs do not change.
        Found::Left { is_running } => is_running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_monitor_counts_as_running() {
        let runs = [Found::Unused, Found::Left { is_running: false }, Found::Left { is_running: true }].map(is_running);
        assert_eq!(runs, [false, false, true]);
    }
}
