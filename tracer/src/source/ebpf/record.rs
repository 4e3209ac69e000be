//! Reads the bytes of one record of the ring buffer.

use tracer_common::{
    IFNAMSIZ, RECORD_SKB, RECORD_TRAP, RecordHeader, START_MAC, START_NETWORK, START_NONE, TrapKey, TrapNames,
};
use zerocopy::FromBytes;

use crate::event::PacketStart;

/// A record of one drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the kernel program wrote.
    pub header: RecordHeader,
    /// Of a hardware drop, why.
    pub trap: Option<TrapNames>,
    /// What `bytes` start with.
    pub start: PacketStart,
    /// Leading bytes of the packet.
    pub bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// None for bytes that the kernel program cannot have written.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = RecordHeader::read_from_prefix(bytes).ok()?;
        let start = match header.start {
            START_NONE => PacketStart::Nothing,
            START_MAC => PacketStart::Mac,
            START_NETWORK => PacketStart::Network,
            _ => return None,
        };
        let (trap, rest) = match header.kind {
            RECORD_SKB => (None, rest),
            RECORD_TRAP => {
                let (names, rest) = TrapNames::read_from_prefix(rest).ok()?;
                (Some(names), rest)
            }
            _ => return None,
        };
        Some(Self { header, trap, start, bytes: rest.get(..header.captured.into())? })
    }

    /// What a hardware drop is counted by; none of others.
    pub fn trap_key(&self) -> Option<TrapKey> {
        let key = &self.header.key;
        let names = self.trap?;
        Some(TrapKey { names, netns: key.netns, ifindex: key.ifindex, protocol: key.protocol, padding: [0; 3] })
    }

    /// The interface's name at the drop, if it had one.
    pub fn interface(&self) -> Option<&str> {
        interface_name(&self.header.interface)
    }
}

/// The text of a name that the kernel pads with zeros; none for no name or one that is not text.
pub fn interface_name(name: &[u8; IFNAMSIZ]) -> Option<&str> {
    text(name)
}

/// As [`interface_name`], of names of any length.
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
        assert_eq!((record.bytes, record.start, record.header.length), (&b"abc"[..], PacketStart::Mac, 9));
        assert_eq!(record.interface(), Some("lo"));
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
    fn names_of_a_trap_stand_before_the_bytes() {
        let names = TrapNames { trap: [b't'; 48], group: [b'g'; 32] };
        let header = RecordHeader { captured: 3, start: START_MAC, kind: RECORD_TRAP, ..RecordHeader::default() };
        let bytes = bytes_of(header, &[names.as_bytes(), b"abcdef"].concat());
        let record = Record::parse(&bytes).unwrap();
        assert_eq!((record.trap, record.bytes), (Some(names), &b"abc"[..]));
        assert_eq!(record.trap_key().unwrap().names, names);
        assert_eq!(Record::parse(&bytes[..size_of::<RecordHeader>() + 79]), None);
        assert_eq!(Record::parse(&bytes_of(RecordHeader { kind: 2, ..header }, b"abcdef")), None);
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
                let _ = record.interface();
            }
        }
    }
}
