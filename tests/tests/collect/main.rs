//! `droptrace-fleet collect`: hosts behind real sshd's, each in a network namespace of its own; hosts that fail, hang, flood
//! and lie; pods behind a stand-in for kubectl.

mod hosts;
mod kubectl;
mod unwell;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::droptrace::Finished;
use tests::trials;

fn main() -> ExitCode {
    let all = [hosts::trials(), unwell::trials(), kubectl::trials()];
    trials::run(all.into_iter().flatten().collect())
}

/// The document of a run with this exit status.
fn document(finished: &Finished, code: i32) -> Result<Value> {
    let Finished { status, stdout, stderr } = finished;
    ensure!(!stderr.contains("panicked"), "it panics: {stderr}");
    ensure!(status.code() == Some(code), "{status} instead of {code}: {stderr}");
    serde_json::from_str(stdout).with_context(|| format!("reading {stdout:?}"))
}

/// A run that failed with this exit status, and said these words.
fn failed(finished: &Finished, code: i32, words: &[&str]) -> Result<()> {
    let Finished { status, stderr, .. } = finished;
    ensure!(status.code() == Some(code), "{status} instead of {code}: {stderr}");
    for word in words {
        ensure!(stderr.contains(word), "it does not say {word:?}: {stderr}");
    }
    Ok(())
}
