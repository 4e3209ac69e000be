//! The drops of a host over a time span, as one document: [`take()`] makes it from the totals of a run,
//! [`droptrace_base::snapshot`] stores it.
//!
//! The document contains no addresses, and no numbers of interfaces or namespaces, because they differ at each boot.

mod facts;
mod outside;
mod take;
#[cfg(test)]
mod tests;

pub(crate) use droptrace_base::snapshot::{fit, machine, write};
pub(crate) use facts::Facts;
pub(crate) use take::take;
