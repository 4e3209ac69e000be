//! The kernel's verifier has little work: each verified instruction delays every start, and a kernel with a lower
//! limit, or without today's optimisations, refuses a longer program first.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use tests::droptrace::Droptrace;
use tests::trials::{self, Unable, trial_as_root};

/// Largest number of instructions that the verifier processes for one program. The limit is twice the usual number; one
/// loop too many, or one set of values that the verifier tracks along all paths, is ten times that.
const MOST: u64 = 20_000;

fn main() -> ExitCode {
    const COMMANDS: [(&str, &[&str]); 3] =
        [("stat", &["stat"]), ("stat_of_owners", &["stat", "--by", "cgroup"]), ("trace", &["trace"])];
    let ways = ["tp_btf", "raw_tracepoint"].into_iter().flat_map(|mode| COMMANDS.map(|command| (command, mode)));
    let trials = ways.map(|((name, command), mode)| {
        trial_as_root(&format!("{name}_by_{mode}"), move || few(&[command, &["--mode", mode]].concat()))
    });
    trials::run(trials.collect())
}

fn few(command: &[&str]) -> Result<()> {
    let droptrace = Droptrace::start(command)?;
    let verified = verified(droptrace.pid())?;
    droptrace.finish()?;
    ensure!(!verified.is_empty(), Unable("this kernel does not report verified instructions (5.16)".to_owned()));
    let most = verified.iter().max().context("no programs")?;
    ensure!(*most > 100, "no program of any size: {verified:?}");
    ensure!(*most <= MOST, "{verified:?} instructions were verified");
    Ok(())
}

/// Instructions verified for each program that the process holds (`bpf_prog_show_fdinfo`, `kernel/bpf/syscall.c`).
fn verified(pid: u32) -> Result<Vec<u64>> {
    let mut found = vec![];
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A file may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let number = text.lines().find_map(|line| line.strip_prefix("verified_insns:"));
        found.extend(number.map(|number| number.trim().parse::<u64>()).transpose()?);
    }
    Ok(found)
}
