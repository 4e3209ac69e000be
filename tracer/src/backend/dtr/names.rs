//! The entries of a block's section of names.

use tracer_common::{DropKey, KeyNames};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NameKind {
    /// An aggregation key; the text is the line of a drop with this key (`droptrace.raw.v1`), without its packet.
    Key = 1,
    /// The inode number of a socket; the text is the JSON of the process that had it open.
    Socket = 2,
    /// An address in the kernel's code; the text is the function.
    Address = 3,
}

impl NameKind {
    /// The kind with this number.
    pub(crate) fn of(number: u8) -> Option<Self> {
        [Self::Key, Self::Socket, Self::Address].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The head of an entry. The number that the entry names follows, and then the text.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct NameHeader {
    /// A [`NameKind`].
    pub(crate) kind: u8,
    /// Always 0.
    pub(crate) padding: [u8; 3],
    /// Bytes of the number.
    pub(crate) number: U32,
    /// Bytes of the text.
    pub(crate) text: U32,
}

impl NameHeader {
    /// The head of an entry.
    pub(crate) fn new(kind: NameKind, number: &[u8], text: &[u8]) -> Self {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).into();
        Self { kind: kind as u8, padding: [0; 3], number: length(number), text: length(text) }
    }
}

/// The number of an aggregation key, as records hold its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct KeyBytes {
    /// The key.
    pub key: DropKey,
    /// The interface and the namespace.
    pub names: KeyNames,
}

const _: () = assert!(size_of::<NameHeader>() == 12 && size_of::<KeyBytes>() == 64);

/// The entries of a section: kind, number and text. An entry that is cut is the end.
pub fn entries(mut section: &[u8]) -> impl Iterator<Item = (u8, &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = NameHeader::read_from_prefix(section).ok()?;
        let (number, rest) = rest.split_at_checked(usize::try_from(head.number.get()).ok()?)?;
        let (text, rest) = rest.split_at_checked(usize::try_from(head.text.get()).ok()?)?;
        section = rest;
        Some((head.kind, number, text))
    })
}
