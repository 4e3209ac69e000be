//! Writes and reads attributes of nftables, whose numbers have the byte order of the network.

use crate::netlink::wire::{Attribute, Malformed, align};

/// `NLA_F_NESTED` (`include/uapi/linux/netlink.h`).
const NESTED: u16 = 0x8000;
/// The length in bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;

/// The body of a message: `struct nfgenmsg`, then attributes.
#[derive(Clone, Debug)]
pub(super) struct Body(Vec<u8>);

impl Body {
    /// A body for a family, without attributes.
    pub(super) fn of(family: u8) -> Self {
        Self(vec![family, 0, 0, 0])
    }

    /// Attributes within another one.
    pub(super) const fn nested() -> Self {
        Self(Vec::new())
    }

    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(align(self.0.len()), 0);
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn long(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A text with its NUL.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn within(self, kind: u16, value: &Self) -> Self {
        self.bytes(kind | NESTED, &value.0)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A number of 32 bits.
pub(super) fn number(attribute: &Attribute<'_>) -> Result<u32, Malformed> {
    attribute.u32().map(u32::from_be)
}

/// A number of 64 bits.
pub(super) fn long(attribute: &Attribute<'_>) -> Result<u64, Malformed> {
    attribute.u64().map(u64::from_be)
}
