//! Messages and attributes, borrowed from the bytes that the kernel sent.

use netlink_packet_core::{NetlinkBuffer, NetlinkHeader, NlaBuffer, NlasIterator, Parseable};
use thiserror::Error;

/// The length in bytes of `struct nlmsghdr`.
pub(crate) const NETLINK_HEADER: usize = 16;

/// The length in bytes of `struct genlmsghdr`.
pub(crate) const GENERIC_HEADER: usize = 4;

/// Bytes that are malformed, with the reason.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Rounds up to the next multiple of 4, as `NLMSG_ALIGN` and `NLA_ALIGN` do.
pub(crate) const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'b> {
    /// The netlink header.
    pub header: NetlinkHeader,
    /// The bytes after the header.
    pub payload: &'b [u8],
    /// The whole message.
    pub bytes: &'b [u8],
}

impl<'b> Message<'b> {
    /// The command and the attributes of a generic netlink message.
    pub fn generic(&self) -> Result<(u8, &'b [u8]), Malformed> {
        let (header, attributes) =
            self.payload.split_first_chunk::<GENERIC_HEADER>().ok_or(Malformed("a message without a command"))?;
        Ok((header[0], attributes))
    }
}

/// The messages of one datagram. A malformed message is the last one.
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

/// The messages of one datagram, from [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'d> {
    rest: &'d [u8],
}

impl<'d> Iterator for Messages<'d> {
    type Item = Result<Message<'d>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = message(self.rest);
        let taken = message.as_ref().map_or(self.rest.len(), |it| align(it.bytes.len()).min(self.rest.len()));
        self.rest = &self.rest[taken..];
        Some(message)
    }
}

fn message(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let buffer = NetlinkBuffer::new_checked(bytes).map_err(|_| Malformed("a message longer than what was sent"))?;
    let header = NetlinkHeader::parse(&buffer).map_err(|_| Malformed("a message without a header"))?;
    Ok(Message { header, payload: buffer.payload(), bytes: &bytes[..header.length as usize] })
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'b> {
    /// The type of the attribute, without flags.
    pub kind: u16,
    /// The attribute contains attributes (`NLA_F_NESTED`).
    pub is_nested: bool,
    /// The value, without padding.
    pub value: &'b [u8],
}

impl<'b> Attribute<'b> {
    /// The value as a byte.
    pub fn u8(&self) -> Result<u8, Malformed> {
        self.fixed().map(u8::from_ne_bytes)
    }

    /// The value as a number of 16 bits.
    pub fn u16(&self) -> Result<u16, Malformed> {
        self.fixed().map(u16::from_ne_bytes)
    }

    /// The value as a number of 32 bits.
    pub fn u32(&self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_ne_bytes)
    }

    /// The value as a number of 64 bits.
    pub fn u64(&self) -> Result<u64, Malformed> {
        self.fixed().map(u64::from_ne_bytes)
    }

    fn fixed<const N: usize>(&self) -> Result<[u8; N], Malformed> {
        self.value.try_into().map_err(|_| Malformed("a number of another width"))
    }

    /// The value up to its first NUL.
    pub(crate) fn until_nul(&self) -> &'b [u8] {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        &self.value[..end]
    }

    /// The value as text, up to its first NUL.
    pub fn text(&self) -> Result<&'b str, Malformed> {
        std::str::from_utf8(self.until_nul()).map_err(|_| Malformed("a name that is not text"))
    }

    /// The attributes that the value contains.
    pub fn nested(&self) -> impl Iterator<Item = Result<Self, Malformed>> + use<'b> {
        attributes(self.value)
    }
}

/// Adds an attribute whose value is a number of 32 bits to the body of a request.
pub(super) fn push_u32(body: &mut Vec<u8>, kind: u16, value: u32) {
    body.extend([8, kind].into_iter().flat_map(u16::to_ne_bytes));
    body.extend(value.to_ne_bytes());
}

/// The attributes in `bytes`. A malformed attribute is the last one.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, Malformed>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute.map_err(|_| Malformed("an attribute longer than what holds it"))?;
        Ok(borrowed(attribute))
    })
}

fn borrowed(attribute: NlaBuffer<&[u8]>) -> Attribute<'_> {
    let (kind, is_nested, length) = (attribute.kind(), attribute.nested_flag(), attribute.length().into());
    // The iterator has checked the length.
    let value = attribute.into_inner().get(netlink_packet_core::NLA_HEADER_SIZE..length).unwrap_or_default();
    Attribute { kind, is_nested, value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rustfmt::skip]
    const TWO: [u8; 44] = [
        // a message
        0x1c, 0x00, 0x00, 0x00, // 28 bytes
        0x10, 0x00, 0x02, 0x00, // nlctrl, NLM_F_MULTI
        0x07, 0x00, 0x00, 0x00, // seventh request
        0x09, 0x00, 0x00, 0x00, // of port 9
        0x01, 0x02, 0x00, 0x00, // CTRL_CMD_NEWFAMILY, version 2
        0x06, 0x00, 0x01, 0x00, // 6 bytes of CTRL_ATTR_FAMILY_ID:
        0x1b, 0x00, 0x00, 0x00, // 27, and padding
        // another
        0x10, 0x00, 0x00, 0x00, // 16 bytes
        0x03, 0x00, 0x02, 0x00, // NLMSG_DONE
        0x07, 0x00, 0x00, 0x00,
        0x09, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn messages_and_attributes() {
        let all: Vec<_> = messages(&TWO).collect::<Result<_, _>>().unwrap();
        assert_eq!((all.len(), all[0].header.sequence_number, all[1].header.message_type), (2, 7, 3));
        let (command, bytes) = all[0].generic().unwrap();
        let attribute = attributes(bytes).next().unwrap().unwrap();
        assert_eq!((command, attribute.kind, attribute.u16()), (1, 1, Ok(27)));
        assert!(attribute.u32().is_err());
        assert!(all[1].generic().is_err());
    }

    #[test]
    fn truncated_datagram_ends_with_an_error() {
        for length in 1..TWO.len() {
            let all: Vec<_> = messages(&TWO[..length]).collect();
            let whole = usize::from(length >= 28);
            assert_eq!(all.iter().filter(|message| message.is_ok()).count(), whole, "{length}");
            assert_eq!(all.len(), whole + usize::from(length != 28), "{length}");
        }
    }

    #[test]
    fn wrong_lengths_are_errors() {
        assert!(messages(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).next().unwrap().is_err());
        assert!(attributes(&[3, 0, 0, 0]).next().unwrap().is_err());
        assert_eq!(
            attributes(&[0xff, 0xff, 1, 0, 0, 0]).map(|attribute| attribute.is_ok()).collect::<Vec<_>>(),
            [false]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            for message in messages(&bytes) {
                let Ok(message) = message else { break };
                prop_assert!(message.bytes.len() <= bytes.len());
                if let Ok((_, rest)) = message.generic() {
                    attributes(rest).flatten().for_each(|attribute| _ = (attribute.text(), attribute.u64()));
                }
            }
            for attribute in attributes(&bytes).flatten() {
                prop_assert!(attribute.nested().flatten().map(|inner| inner.value.len()).sum::<usize>() <= bytes.len());
            }
        }
    }
}
