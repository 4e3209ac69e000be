//! Facts about a dropped packet beyond its bytes: its device, its socket, its route.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Facts that only the kernel program reports. Each is `None` if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The VLAN tag that the kernel removed from the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanTag>,
    /// The CPU that dropped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// `sk_buff.mark`; `None` if it is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// `sk_buff.queue_mapping`: the queue of the device on output; on input the receive queue plus 1, or 0 if it was
    /// not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u16>,
    /// MTU of the device in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_mtu: Option<u32>,
    /// The device's link address; `None` if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_mac: Option<Mac>,
    /// MTU of the route in bytes, if a metric of the route sets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_mtu: Option<u32>,
    /// The buffer's segmentation, if it holds several packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gso: Option<Gso>,
    /// The packet's socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<Socket>,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VlanTag {
    /// `EtherType` of the tag: 0x8100, or 0x88a8 of a service tag.
    pub protocol: u16,
    /// Tag control information: priority, drop eligibility, and the VLAN identifier in the low 12 bits.
    pub tci: u16,
}

impl VlanTag {
    /// The VLAN identifier.
    pub const fn id(self) -> u16 {
        self.tci & 0x0fff
    }
}

/// Generic segmentation offload: one buffer stands for several packets on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gso {
    /// Payload bytes of each packet.
    pub size: u16,
    /// Number of packets; `None` if the kernel has not counted them yet.
    pub segments: Option<u16>,
}

/// The relation of a socket to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The socket was to receive the packet: the tracepoint reports it (Linux 6.11 and later).
    Receiver,
    /// The packet belongs to the socket (`skb->sk`). That is mostly the sender, also on the receiving side of a virtual
    /// link; on input it is the receiver, if the kernel looked for it early.
    Owner,
}

impl Role {
    /// The name in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Owner => "owner",
        }
    }
}

/// A packet's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// The relation of the socket to the packet.
    pub role: Role,
    /// The socket's number for life (`SO_COOKIE`); `None` while nobody has asked for it.
    pub cookie: Option<u64>,
    /// The socket's inode number, as `/proc/PID/fd` and `ss -e` show it; `None` if no process holds the socket.
    pub inode: Option<u64>,
    /// User id of the socket's creator.
    pub uid: Option<u32>,
    /// Local port; `None` if the socket has none.
    pub port: Option<u16>,
    /// Memory that the receive queue may use, in bytes (`SO_RCVBUF`).
    pub receive_buffer: Option<u32>,
    /// Memory that the receive queue uses, in bytes.
    pub receive_queued: Option<u32>,
}

/// A link address; its text is twelve hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let is_plain = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(&text, 16).ok().filter(|_| is_plain);
        let [_, _, bytes @ ..] =
            number.ok_or_else(|| de::Error::custom("a link address is not six bytes in hexadecimal"))?.to_be_bytes();
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_they_were_written() {
        let socket = Socket {
            role: Role::Receiver,
            cookie: None,
            inode: Some(u64::MAX),
            uid: Some(0),
            port: Some(53),
            receive_buffer: Some(212_992),
            receive_queued: Some(212_800),
        };
        let facts = Facts {
            vlan: Some(VlanTag { protocol: 0x8100, tci: 0x2001 }),
            cpu: Some(1),
            mark: None,
            queue: Some(0),
            device_mtu: Some(1500),
            device_mac: Some(Mac([0, 1, 2, 3, 4, 0xff])),
            route_mtu: None,
            gso: Some(Gso { size: 1448, segments: None }),
            socket: Some(socket),
        };
        let text = serde_json::to_string(&facts).unwrap();
        assert!(text.contains(r#""device_mac":"0001020304ff""#) && !text.contains("mark"), "{text}");
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
        assert_eq!(serde_json::from_str::<Facts>("{}").unwrap(), Facts::default());
        assert_eq!(facts.vlan.unwrap().id(), 1);
    }

    #[test]
    fn a_link_address_has_six_bytes() {
        for wrong in ["", "0001020304", "0001020304ff00", "+001020304ff", "00010203040g"] {
            assert!(serde_json::from_str::<Mac>(&format!("\"{wrong}\"")).is_err(), "{wrong}");
        }
    }
}
