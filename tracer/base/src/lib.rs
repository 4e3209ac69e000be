//! What droptrace and droptrace-fleet share, without BPF and without a kernel's facts.
//!
//! [`domain`] is plain data, [`outside`] and [`files`] read what anybody may have written, [`explain`] says what reasons
//! mean, [`render`] how numbers and tables look, [`dimension`] is what drops can be grouped by, [`snapshot`] carries the totals of a run to other hosts, [`command`] has
//! what their command lines share. No module uses one that stands below it; the test `architecture` of the member
//! `tracer` has the order.

#![warn(clippy::print_stderr, reason = "it panics where nobody reads stderr; `outside::say` does not")]

pub mod command;
pub mod dimension;
pub mod domain;
pub mod explain;
pub mod files;
#[doc(hidden)]
pub mod hostile;
pub mod outside;
pub mod render;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
