//! JSON for programs: one document per line. `docs/reference/output.md` has every field; within a version a schema only grows.

mod compare;
mod head;
mod hidden;
mod keys;
mod ledger;
mod outside;
mod past;
mod raw;
mod reconcile;
mod refused;
mod retransmit;
mod stack;
mod stat;
#[cfg(test)]
mod tests;
mod trace;

use std::fmt;

use serde::{Serialize, Serializer};

pub(crate) use compare::CompareJson;
pub(crate) use ledger::Account;
pub(crate) use raw::RawJson;
pub use raw::RawOptions;
pub(in crate::sink) use raw::line_of_key;
pub(crate) use reconcile::ReconcileJson;
pub(crate) use stat::StatJson;
pub use trace::TraceJson;
#[cfg(feature = "otlp")]
pub(crate) use trace::drop_fields;

use crate::domain::event::{Location, Symbol};

/// A value that is shown as a string, and written without a temporary string.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An address of the kernel, as a string, because JSON's numbers do not hold 64 bits.
struct Address(u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The parts of a location, each null where it is not known.
fn symbol_of(location: &Location) -> (Option<&str>, Option<u64>, Option<&str>) {
    match &location.symbol {
        Some(Symbol { name, offset, module }) => (Some(name), Some(*offset), module.as_deref()),
        None => (None, None, None),
    }
}
