//! Accounts for every packet that Linux drops: where, why, how many, and how sure.
//!
//! Data flows up this list: [`kernel`] is what the running kernel tells, [`event`] and [`ledger`] are the domain,
//! [`source`] listens, [`pipeline`] gives names, [`report`] is what sinks are given, [`session`] is one run,
//! [`packet`] decodes what was dropped, [`sink`] shows it, [`snapshot`] carries it to other hosts, [`doctor`] tells what
//! works here, [`explain`] what reasons mean, [`cli`] reads what was typed and runs the commands.

#![warn(clippy::print_stderr, reason = "it panics where nobody reads stderr; `outside::say` does not")]

pub mod bench;
pub mod cli;
pub mod doctor;
pub mod event;
pub mod explain;
pub mod facts;
pub mod files;
pub mod fleet;
#[doc(hidden)]
pub mod hostile;
pub mod kernel;
pub mod ledger;
pub mod metrics;
pub mod netlink;
pub mod outside;
pub mod packet;
pub mod pipeline;
pub mod report;
pub mod session;
pub mod sink;
pub mod snapshot;
pub mod source;

/// Says that a test cannot run here, past libtest, which shows nothing of a test that holds: whoever counts must see it.
#[cfg(test)]
pub(crate) fn skipped(test: &str, reason: &str) {
    use std::io::Write as _;
    // A line of its own, even behind the name of the test.
    _ = write!(std::io::stdout().lock(), "\nSKIPPED {test}: {reason}\n");
}
