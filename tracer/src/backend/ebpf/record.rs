//! Parses the bytes of one record of the ring buffer.

use tracer_common::{
    IFNAMSIZ, KIND_XDP, KeyNames, RecordHeader, SECTION_DEVICE, SECTION_GSO, SECTION_SOCKET, SECTION_STACK,
    SECTION_VLAN, SOCKET_OWNER, SOCKET_RECEIVER, STACK_BYTES, START_MAC, START_NETWORK, START_NONE, SocketFacts,
};
use zerocopy::FromBytes;

use crate::domain::event::PacketStart;
use crate::domain::facts::{Facts, Gso, Mac, Role, Socket, VlanTag};

/// A record of one drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// All facts but the packet's bytes.
    pub report: Report,
    /// The call stack, then the leading bytes of the packet, for [`Report::split`].
    pub bytes: &'a [u8],
}

/// The kernel program's report of one drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The header that the kernel program wrote.
    pub header: RecordHeader,
    /// The header that the packet's bytes start with.
    pub start: PacketStart,
}

impl<'a> Record<'a> {
    /// Parses a record; absent for bytes that the kernel program cannot have written.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = RecordHeader::read_from_prefix(bytes).ok()?;
        let start = match header.start {
            START_NONE => PacketStart::Nothing,
            START_MAC => PacketStart::Mac,
            START_NETWORK => PacketStart::Network,
            _ => return None,
        };
        let report = Report { header, start };
        let stack = report.room_of_stack();
        (usize::from(header.stack) <= stack).then_some(())?;
        Some(Self { report, bytes: rest.get(..stack + usize::from(header.captured))? })
    }

    /// The bytes of a record without the unused room at its end; absent as for [`Record::parse`].
    pub fn used(bytes: &'a [u8]) -> Option<&'a [u8]> {
        let record = Self::parse(bytes)?;
        bytes.get(..size_of::<RecordHeader>() + record.bytes.len())
    }
}

impl Report {
    fn room_of_stack(&self) -> usize {
        if self.header.sections & SECTION_STACK == 0 { 0 } else { STACK_BYTES }
    }

    /// The return addresses of the call stack, the innermost function first, and the leading bytes of the packet. `bytes`
    /// is [`Record::bytes`].
    pub fn split<'a>(&self, bytes: &'a [u8]) -> (&'a [[u8; 8]], &'a [u8]) {
        let (stack, packet) = bytes.split_at_checked(self.room_of_stack()).unwrap_or((&[], bytes));
        let (addresses, _) = stack.get(..self.header.stack.into()).unwrap_or_default().as_chunks();
        (addresses, packet)
    }

    /// The inode number of the packet's socket. Absent unless the socket is the one that the key is about: under lockdown
    /// (confidentiality), a record may have the packet's owner where the key has the receiver.
    pub(crate) fn socket_inode(&self) -> Option<u64> {
        let header = &self.header;
        let is_same = header.sections & SECTION_SOCKET != 0 && header.key.socket == header.socket.role;
        Some(header.socket.inode).filter(|inode| is_same && *inode != 0)
    }

    /// Names that were known of the packet's interface and namespace.
    pub const fn names(&self) -> KeyNames {
        KeyNames { interface: self.header.interface, netns_inum: self.header.netns_inum, padding: 0 }
    }

    /// Facts about the packet beyond its bytes.
    pub fn facts(&self) -> Facts {
        let header = &self.header;
        let has = |section: u8| header.sections & section != 0;
        // A frame of XDP has no `sk_buff`, which would hold its queue.
        let is_packet = header.key.kind != KIND_XDP;
        Facts {
            vlan: has(SECTION_VLAN).then_some(VlanTag { protocol: header.vlan_proto, tci: header.vlan_tci }),
            cpu: Some(header.cpu),
            mark: Some(header.mark).filter(|mark| *mark != 0),
            queue: is_packet.then_some(header.queue),
            device_mtu: has(SECTION_DEVICE).then_some(header.mtu).filter(|mtu| *mtu != 0),
            device_mac: has(SECTION_DEVICE).then_some(Mac(header.mac)).filter(|mac| mac.0 != [0; 6]),
            route_mtu: Some(header.route_mtu).filter(|mtu| *mtu != 0),
            gso: has(SECTION_GSO).then_some(Gso {
                size: header.gso_size,
                segments: Some(header.gso_segments).filter(|segments| *segments != 0),
            }),
            socket: if has(SECTION_SOCKET) { socket(&header.socket) } else { None },
        }
    }

    /// The interface's name at the drop, if it had one.
    pub fn interface(&self) -> Option<&str> {
        interface_name(&self.header.interface)
    }
}

/// The socket; absent for a role that the kernel program cannot have written.
fn socket(found: &SocketFacts) -> Option<Socket> {
    let role = match found.role {
        SOCKET_RECEIVER => Role::Receiver,
        SOCKET_OWNER => Role::Owner,
        _ => return None,
    };
    let receive_buffer = Some(found.receive_buffer).filter(|size| *size != 0);
    Some(Socket {
        role,
        cookie: Some(found.cookie).filter(|cookie| *cookie != 0),
        inode: Some(found.inode).filter(|inode| *inode != 0),
        uid: Some(found.uid).filter(|uid| *uid != u32::MAX),
        port: Some(found.port).filter(|port| *port != 0),
        receive_buffer,
        receive_queued: receive_buffer.map(|_| found.receive_queued),
    })
}

/// The text of a name that the kernel pads with zeros; absent for an empty name or a name that is not text.
pub(crate) fn interface_name(name: &[u8; IFNAMSIZ]) -> Option<&str> {
    text(name)
}

/// See `interface_name`; for names of any length.
pub fn text(name: &[u8]) -> Option<&str> {
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    std::str::from_utf8(&name[..length]).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    fn bytes_of(header: RecordHeader, payload: &[u8]) -> Vec<u8> {
        [header.as_bytes(), payload].concat()
    }

    #[test]
    fn a_record_has_as_many_bytes_as_were_captured() {
        let mut interface = [0; IFNAMSIZ];
        interface[..2].copy_from_slice(b"lo");
        let header = RecordHeader { captured: 3, start: START_MAC, interface, length: 9, ..RecordHeader::default() };
        let bytes = bytes_of(header, b"abcdef");
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(
            (record.bytes, record.report.start, record.report.header.length),
            (&b"abc"[..], PacketStart::Mac, 9)
        );
        assert_eq!(record.report.interface(), Some("lo"));
        assert_eq!(Record::used(&bytes), Some(&bytes[..size_of::<RecordHeader>() + 3]));
    }

    #[test]
    fn impossible_records_are_refused() {
        let header = RecordHeader { captured: 7, start: START_MAC, ..RecordHeader::default() };
        assert_eq!(Record::parse(&bytes_of(header, b"abcdef")), None);
        let header = RecordHeader { start: 3, ..RecordHeader::default() };
        assert_eq!(Record::parse(&bytes_of(header, b"abcdef")), None);
        assert_eq!(Record::parse(&header.as_bytes()[1..]), None);
    }

    #[test]
    fn names_are_text_or_nothing() {
        assert_eq!(interface_name(b"sixteen-bytes-ab"), Some("sixteen-bytes-ab"));
        assert_eq!(interface_name(&[0; IFNAMSIZ]), None);
        assert_eq!(interface_name(&[0xff; IFNAMSIZ]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Some(record) = Record::parse(&bytes) {
                prop_assert!(record.bytes.len() <= bytes.len() - size_of::<RecordHeader>());
                let _ = record.report.interface();
            }
        }
    }
}
