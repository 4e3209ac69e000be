//! `soak`: a long life of `droptrace agent` on a busy machine; `cargo xtask soak` builds and runs it.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use droptrace_base::render::html::{Maker, Secrets};
use signal_hook::consts::{SIGINT, SIGTERM};
use tests::soak::judge::{Verdict, judge};
use tests::soak::page::{lead, write_page};
use tests::soak::{Outcome, Plan, run};

/// Keeps `droptrace agent` running on a busy machine, and checks its memory and its counts.
#[derive(Parser)]
struct Args {
    /// The droptrace to run
    #[arg(long, value_name = "FILE")]
    droptrace: PathBuf,
    /// Duration of the load
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,
    /// Write the page with plots here
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_over)).context("handling signals")?;
    }
    let duration = Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes is no duration")?;
    let outcome = run(&Plan { droptrace: args.droptrace, duration }, is_over)?;
    write(&outcome, &args.html)?;
    Ok(report(&outcome, &args.html))
}

fn write(outcome: &Outcome, path: &PathBuf) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let program = concat!("soak ", env!("CARGO_PKG_VERSION")).to_owned();
    let maker = Maker::here(program, Secrets(&[]));
    write_page(&mut BufWriter::new(file), outcome, &maker).with_context(|| format!("writing {}", path.display()))
}

/// Prints the criteria. The run fails with one of them.
fn report(outcome: &Outcome, path: &std::path::Path) -> ExitCode {
    for line in lead(outcome) {
        println!("{line}");
    }
    println!();
    let criteria = judge(outcome);
    for criterion in &criteria {
        println!("{:<10} {}: {}", criterion.verdict.word(), criterion.name, criterion.figures);
    }
    println!("\nThe page with plots: {}", path.display());
    let failed = criteria.iter().any(|criterion| criterion.verdict == Verdict::Failed);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
