//! What a host dropped within a while, as one document: [`take()`] makes it of the totals of a run, [`droptrace_base::snapshot`]
//! carries it.
//!
//! It holds no addresses and no numbers of interfaces or namespaces: they differ at each boot.

mod take;
#[cfg(test)]
mod tests;

pub use droptrace_base::snapshot::{Snapshot, fit, machine, read, write};
pub use take::{Facts, take};
