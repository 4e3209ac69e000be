//! The operator's program: drops of many hosts, new drops, hosts that stand out, and what to do. It needs no
//! capabilities and no kernel.
//!
//! [`model`] is a fleet's data; [`merge`] fills it from snapshots, [`prometheus`] from an engine that scrapes agents.
//! [`collect`] fetches snapshots from hosts. `analyse` derives `finding`s from it; `report` is the whole result, `sink` shows it, [`cli`] is `droptrace-fleet`.
//! The test `architecture` of the member `tracer` has the order.

#![warn(clippy::print_stderr, reason = "`eprintln!` panics if nobody reads stderr; `outside::say` does not")]

mod analyse;
pub mod cli;
pub mod collect;
mod finding;
#[doc(hidden)]
pub mod hostile;
pub mod merge;
pub mod model;
mod names;
mod number;
pub mod prometheus;
mod report;
mod sink;
mod watch;
