//! JSON for programs: one document per line. `docs/output.md` has every field; within a version a schema only grows.

mod compare;
mod ledger;
mod places;
mod raw;
mod stat;
#[cfg(test)]
mod tests;
mod trace;

use std::fmt;

use serde::{Serialize, Serializer};

pub use compare::CompareJson;
pub(crate) use ledger::Account;
pub use raw::{RawJson, RawOptions};
pub use stat::StatJson;
pub use trace::TraceJson;
pub(crate) use trace::drop_fields;

use crate::domain::event::{Location, Symbol};
use crate::packet::ProtocolName;

/// A value that is shown as a string, and written without a temporary string.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An address of the kernel, as a string, because JSON's numbers do not hold 64 bits.
struct Address(u64);

impl Address {
    /// The address; null if the drop has no drop site in the kernel's code.
    fn of(location: &Location) -> Option<Shown<Self>> {
        (location.address != 0).then_some(Shown(Self(location.address)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The group of the devlink trap that dropped the packet.
fn trap_group(location: &Location) -> Option<&str> {
    location.trap_group.as_deref()
}

/// The parts of a location, each null if it is unknown.
fn symbol_of(location: &Location) -> (Option<&str>, Option<u64>, Option<&str>) {
    match &location.symbol {
        Some(Symbol { name, offset, module }) => (Some(name), Some(*offset), module.as_deref()),
        None => (None, None, None),
    }
}

fn protocol_of(ether_type: u16) -> Option<Shown<ProtocolName>> {
    (ether_type != 0).then_some(Shown(ProtocolName(ether_type)))
}

/// The kernel's number; absent if 0 means that there is none.
fn nonzero(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}
