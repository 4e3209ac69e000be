//! Accounts for every packet that Linux drops: where, why, how many, and how sure.
//!
//! Data flows down this list: [`domain`] is plain data, [`kernel`] and [`identity`] are facts of the running kernel, a
//! [`backend`] reports drops, [`pipeline`] gives them names and joins two backends' reports, [`render`] and [`sink`] show
//! them, [`run`] is one run of a backend, [`snapshot`] carries its totals to other hosts, [`metrics`] serves them,
//! [`doctor`] shows what works here, [`explain`] what reasons mean, [`cli`] runs the commands. No module uses one that
//! stands below it; the test `architecture` has the order.

#![warn(clippy::print_stderr, reason = "it panics where nobody reads stderr; `outside::say` does not")]

pub mod backend;
pub mod bench;
pub mod cli;
pub mod doctor;
pub mod domain;
pub mod explain;
pub mod files;
pub mod fleet;
#[doc(hidden)]
pub mod hostile;
pub mod identity;
pub mod kernel;
pub mod metrics;
pub mod netlink;
pub mod outside;
pub mod packet;
pub mod pipeline;
pub mod render;
pub mod run;
pub mod sink;
pub mod snapshot;

/// Says that a test cannot run here, past libtest, which shows nothing of a test that holds: whoever counts must see it.
#[cfg(test)]
pub(crate) fn skipped(test: &str, reason: &str) {
    use std::io::Write as _;
    // A line of its own, even behind the name of the test.
    _ = write!(std::io::stdout().lock(), "\nSKIPPED {test}: {reason}\n");
}
