//! Compares droptrace's view of netlink with that of other programs.

mod absent;
mod crypto;
mod genl;
mod irda;
mod listeners;
mod modules;
mod net_dm;
mod watch;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, command};
use tests::trials::{self, trial, trial_as_root};

fn main() -> ExitCode {
    trials::run(vec![
        trial("families_equal_those_of_genl", genl::families_equal_those_of_genl),
        trial("policies_equal_those_of_genl", genl::policies_equal_those_of_genl),
        trial("families_that_are_not_there", absent::families_that_are_not_there),
        trial_as_root("a_family_of_the_first_namespace_only", absent::a_family_of_the_first_namespace_only),
        trial("the_drop_monitor_as_in_its_source", net_dm::the_drop_monitor_as_in_its_source),
        trial("irda_is_gone", irda::irda_is_gone),
        trial_as_root("irda_as_it_was", irda::irda_as_it_was),
        trial("crypto_without_its_module", crypto::crypto_without_its_module),
        trial_as_root("crypto_equals_proc_crypto", crypto::crypto_equals_proc_crypto),
        trial_as_root("new_interfaces_and_an_overrun_in_order", watch::new_interfaces_and_an_overrun_in_order),
        trial_as_root("alerts_and_an_overrun_in_order", watch::alerts_and_an_overrun_in_order),
        trial_as_root("a_listener_that_misses_multicasts", listeners::a_listener_that_misses_multicasts),
    ])
}

fn run(arguments: &[&str]) -> Result<Finished> {
    Droptrace::spawn(&mut command(arguments)?)?.wait()
}

fn json(arguments: &[&str]) -> Result<Value> {
    let finished = run(&[&["netlink"], arguments, &["--format", "json"]].concat())?;
    ensure!(finished.status.success(), "{arguments:?}: {}", finished.stderr);
    serde_json::from_str(&finished.stdout).with_context(|| format!("reading {:?}", finished.stdout))
}

fn list<'v>(value: &'v Value, field: &str) -> Result<&'v Vec<Value>> {
    value[field].as_array().with_context(|| format!("no {field} in {value}"))
}

fn refused(finished: &Finished, words: &[&str]) -> Result<()> {
    ensure!(finished.status.code() == Some(1), "{} instead of 1: {}", finished.status, finished.stderr);
    ensure!(finished.stdout.is_empty(), "it prints {:?}", finished.stdout);
    let missing = words.iter().find(|word| !finished.stderr.contains(*word));
    ensure!(missing.is_none(), "it does not say {missing:?}: {}", finished.stderr);
    Ok(())
}
