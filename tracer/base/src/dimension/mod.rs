//! Dimensions: the parts of an aggregation key by which drops can be grouped. Each is one file here and one entry of
//! [`ALL`]; tables, JSON, metrics, snapshots and `--by` take all of them from there.

mod flow;
mod interface;
mod members;
mod netns;
mod owner;
mod protocol;
mod reason;
mod selection;
mod site;

use std::borrow::Cow;

pub use interface::interface;
pub(crate) use members::nonzero64;
pub use members::{Member, Members, Value, nonzero};
pub use netns::netns;
pub use protocol::ProtocolName;
pub use reason::reason;
pub use selection::Dimensions;
pub use site::site;

use crate::domain::event::NamedKey;
use crate::render::fit::shorten;

/// All dimensions, in the order of columns and of JSON members.
pub static ALL: [&dyn Dimension; 18] = [
    &reason::ReasonDimension,
    &site::SiteDimension,
    &interface::InterfaceDimension,
    &protocol::ProtocolDimension,
    &netns::NetnsDimension,
    &owner::POD,
    &owner::CONTAINER,
    &owner::UNIT,
    &owner::CgroupDimension,
    &owner::SocketDimension,
    &flow::PROCESS,
    &flow::USER,
    &flow::SOURCE,
    &flow::SOURCE_PORT,
    &flow::DESTINATION,
    &flow::DESTINATION_PORT,
    &flow::TRANSPORT,
    &flow::MARK,
];

/// The column that names the residents of namespaces. `--by` does not take it.
pub static WHO: &dyn Dimension = &owner::WhoDimension;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The word for `--by`.
    pub name: &'static str,
    /// The heading.
    pub heading: &'static str,
    /// Whether the value says whose packet it was, which the kernel program finds out only if it is asked for.
    pub is_attribution: bool,
}

/// A part of an aggregation key, and how outputs show it.
pub trait Dimension: Sync {
    /// Its column.
    fn column(&self) -> &Column;

    /// The word for `--by`.
    fn name(&self) -> &'static str {
        self.column().name
    }

    /// The value for people; `-` for an unknown value.
    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str>;

    /// The value for people, in at most `width` characters.
    fn text<'k>(&self, key: &'k NamedKey, width: usize) -> Cow<'k, str> {
        shorten(self.value(key), width)
    }

    /// A shorter form of the value, for columns without room for all of it.
    fn brief<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        self.value(key)
    }

    /// Adds the members of JSON objects; null for an unknown value.
    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>);

    /// Adds the members of a snapshot's row, which other hosts must understand: no addresses and no numbers of this host.
    fn snapshot<'k>(&self, _key: &Elsewhere<'k>, _members: &mut Members<'k>) {}

    /// The names of its labels in metrics.
    fn labels(&self) -> &'static [&'static str] {
        &[]
    }

    /// Adds the values of [`Dimension::labels`], in their order; empty for an unknown value.
    fn label_values<'k>(&self, _key: &Elsewhere<'k>, _values: &mut Vec<Cow<'k, str>>) {}

    /// The fact of a packet's flow that it shows: one of the bits of `tracer_common::Config::flows`; 0 if it shows none.
    fn flow_fact(&self) -> u32 {
        0
    }

    /// Makes the value unknown, so that keys that differ in nothing else become equal.
    fn clear(&self, key: &mut NamedKey);
}

/// A key with the facts that give its numbers a meaning on other hosts.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere<'k> {
    /// The key.
    pub key: &'k NamedKey,
    /// Kind of the interface, such as `physical` or `veth`; absent where it is unknown.
    pub class: Option<&'k str>,
    /// Whether the drop was in the network namespace of droptrace itself; absent where either is unknown.
    pub is_own_netns: Option<bool>,
}

#[cfg(test)]
mod tests;
