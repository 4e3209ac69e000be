//! The interface that packets came in by, or left by.

use std::borrow::Cow;

use super::{Column, Dimension, Elsewhere, Members, nonzero};
use crate::domain::event::NamedKey;
use crate::outside::printable;

/// `eth0`, `if7` where there is no name, `-` where there is no interface, `netlink` for a message to a netlink socket
/// whose receive buffer was full.
pub fn interface(key: &NamedKey) -> Cow<'_, str> {
    match &key.interface {
        Some(name) => printable(name),
        None if key.is_netlink_message() => "netlink".into(),
        None if key.ifindex == 0 => "-".into(),
        None => format!("if{}", key.ifindex).into(),
    }
}

pub(super) struct InterfaceDimension;

impl Dimension for InterfaceDimension {
    fn column(&self) -> &Column {
        &Column { name: "interface", heading: "IFACE", is_attribution: false }
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        interface(key)
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add("interface", key.interface.as_deref());
        members.add("ifindex", nonzero(key.ifindex));
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        members.add("interface", key.key.interface.as_deref());
        members.add("class", key.class);
    }

    fn labels(&self) -> &'static [&'static str] {
        &["interface_class"]
    }

    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        values.push(key.class.unwrap_or_default().into());
    }

    fn clear(&self, key: &mut NamedKey) {
        (key.interface, key.ifindex) = (None, 0);
    }
}
