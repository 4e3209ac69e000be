//! The common library of droptrace and droptrace-fleet. It contains no BPF and reads nothing from the kernel.
//!
//! [`domain`] is plain data, [`outside`] and [`files`] read text and files that others may have written, [`explain`]
//! explains drop reasons, [`render`] formats numbers and tables, [`dimension`] has the parts of an aggregation key by which
//! drops can be grouped, [`filter`] is the language of filters, [`advice`] has what fits a row of drops, [`snapshot`] carries the totals of a run to other
//! hosts, [`command`] has the common parts of the command lines. No module uses one that is listed after it; the test
//! `architecture` of the member `tracer` has the order.

#![warn(clippy::print_stderr, reason = "`eprintln!` panics if nobody reads stderr; `outside::say` does not")]

pub mod advice;
pub mod command;
pub mod dimension;
pub mod domain;
pub mod explain;
pub mod files;
pub mod filter;
#[doc(hidden)]
pub mod hostile;
pub mod outside;
pub mod render;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
