//! Accounts for every packet that Linux drops: where, why, how many, and how sure.
//!
//! Data flows down this list: [`droptrace_base`] has plain data and how it looks, [`kernel`] and [`identity`] are facts of the
//! running kernel, a [`backend`] reports drops, [`pipeline`] gives them names and joins two backends' reports, [`sink`]
//! shows them, [`run`] is one run of a backend, `snapshot` carries its totals to other hosts, `metrics` serves them,
//! `doctor` shows what works here, `top` is the screen with keys, [`cli`] runs the commands. No module uses one that stands below it; the test
//! `architecture` has the order.

#![warn(clippy::print_stderr, reason = "it panics where nobody reads stderr; `outside::say` does not")]

pub mod backend;
pub mod cli;
mod doctor;
mod explained;
#[doc(hidden)]
pub mod hostile;
pub mod identity;
pub mod kernel;
#[cfg(feature = "agent")]
mod metrics;
pub mod netlink;
mod nftables;
pub mod packet;
pub mod pipeline;
pub mod run;
pub mod sink;
mod snapshot;
#[cfg(feature = "top")]
mod top;

#[cfg(test)]
pub(crate) use droptrace_base::testing::skipped;
pub(crate) use droptrace_base::{advice, command, dimension, domain, explain, files, filter, outside, render};
