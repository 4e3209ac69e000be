//! The operator's side: what many hosts dropped, what of it is new, who stands out, and what to do. It needs no rights
//! and no kernel.
//!
//! [`model`] is what is known of a fleet; [`merge`] fills it from snapshots, [`prometheus`] from an engine that scrapes
//! agents. `analyse` concludes from it, into `finding`s; `report` is all that is told, `sink` shows it, [`cli`]
//! is `droptrace-fleet`. The test `architecture` of the member `tracer` has the order.

#![warn(clippy::print_stderr, reason = "it panics where nobody reads stderr; `outside::say` does not")]

mod analyse;
pub mod cli;
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
