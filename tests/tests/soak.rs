//! A short run of what `cargo xtask soak` runs for long: all of its load, and its counts.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use droptrace_base::domain::event::Timestamp;
use droptrace_base::render::html::Maker;
use tests::droptrace::binary;
use tests::pace;
use tests::soak::judge::{Verdict, judge};
use tests::soak::page::write_page;
use tests::soak::{Plan, run};
use tests::trials::{self, trial_as_root};

/// The load, on the reference machine.
const DURATION: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    trials::run(vec![trial_as_root("a_short_life_counts_exactly", a_short_life_counts_exactly)])
}

fn a_short_life_counts_exactly() -> Result<()> {
    let plan = Plan { droptrace: binary()?, duration: pace::scaled(DURATION) };
    let outcome = run(&plan, Arc::default())?;
    for criterion in judge(&outcome) {
        ensure!(criterion.verdict != Verdict::Failed, "{}: {}", criterion.name, criterion.figures);
    }
    let mut page = Vec::new();
    write_page(&mut page, &outcome, &Maker { program: "soak".into(), command: "soak".into(), at: Timestamp(0) })?;
    let page = String::from_utf8(page)?;
    ensure!(page.matches("<svg").count() == 7, "not all plots are on the page");
    ensure!(
        !["<link", "src=", "href=", "@import", "url("].iter().any(|word| page.contains(word)),
        "it needs other files"
    );
    Ok(())
}
