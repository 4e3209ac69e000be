//! The protocol above the link layer.

use std::borrow::Cow;
use std::fmt;

use super::{Column, Dimension, Elsewhere, Members};
use crate::domain::event::NamedKey;

/// An `EtherType` (`include/uapi/linux/if_ether.h`), shown by name where it is well known, else as `0x88cc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolName(pub u16);

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0800 => f.write_str("ipv4"),
            0x0806 => f.write_str("arp"),
            0x86dd => f.write_str("ipv6"),
            0x8100 => f.write_str("vlan"),
            0x88a8 => f.write_str("qinq"),
            other => write!(f, "{other:#06x}"),
        }
    }
}

/// The name; absent where the kernel did not set the protocol.
fn name(key: &NamedKey) -> Option<String> {
    (key.protocol != 0).then(|| ProtocolName(key.protocol).to_string())
}

pub(super) struct ProtocolDimension;

impl Dimension for ProtocolDimension {
    fn column(&self) -> &Column {
        &Column { name: "protocol", heading: "PROTO", is_attribution: false }
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        name(key).map_or("-".into(), Into::into)
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add("protocol", name(key));
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        self.members(key.key, members);
    }

    fn labels(&self) -> &'static [&'static str] {
        &["protocol"]
    }

    /// `netlink` for messages to netlink sockets.
    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        let is_netlink = key.key.is_netlink_message();
        values.push(if is_netlink { "netlink".into() } else { name(key.key).unwrap_or_default().into() });
    }

    fn clear(&self, key: &mut NamedKey) {
        key.protocol = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::ProtocolName;

    #[test]
    fn unknown_protocols_are_shown_as_numbers() {
        let names = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x88cc, 4].map(|number| ProtocolName(number).to_string());
        assert_eq!(names, ["ipv4", "ipv6", "arp", "vlan", "qinq", "0x88cc", "0x0004"]);
    }
}
