//! The frame of a block.

use tracer_common::RecordHeader;
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first bytes of a file: a byte that is no text, the name of the format, the ends of lines that a transfer as text
/// would change, and the version.
pub(crate) const FILE_HEADER: [u8; 8] = *b"\x89DTR\r\n\x1a\x01";

/// The first bytes of a block.
const BLOCK_MAGIC: [u8; 4] = *b"dtrB";

/// Bytes of a block's section at most.
pub(crate) const MAX_SECTION: u32 = 16 << 20;

// Version 1 of the format is this layout of records: a new layout needs a new version in `FILE_HEADER`.
const _: () = assert!(size_of::<RecordHeader>() == 144);

/// The content of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockKind {
    /// Lines of `droptrace.raw.v1`: the first line, the last line, and the drops of other backends than the BPF program.
    Lines = 1,
    /// Records of the BPF program, and the names of their numbers.
    Records = 2,
}

impl BlockKind {
    /// The kind with this number.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Lines, Self::Records].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The head of a block. Two sections follow: records, or lines; then the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockHeader {
    magic: [u8; 4],
    /// A [`BlockKind`].
    pub kind: u8,
    padding: [u8; 3],
    /// Bytes of the first section.
    pub body: U32,
    /// Bytes of the section of names; 0 for lines.
    pub names: U32,
    /// Number of records; 0 for lines.
    pub records: U32,
    /// CRC-32 (ISO-HDLC, as in gzip) of this header with a checksum of 0, and of both sections.
    pub checksum: U32,
    /// Time at which the records were read: nanoseconds since the recording's start.
    pub received_ns: U64,
    /// Real time minus the clock of the records (`CLOCK_MONOTONIC` of the initial time namespace), in nanoseconds.
    pub clock_ns: I64,
}

impl BlockHeader {
    /// A header without sections.
    pub fn new(kind: BlockKind) -> Self {
        Self {
            magic: BLOCK_MAGIC,
            kind: kind as u8,
            padding: [0; 3],
            body: 0.into(),
            names: 0.into(),
            records: 0.into(),
            checksum: 0.into(),
            received_ns: 0.into(),
            clock_ns: 0.into(),
        }
    }

    /// Sets the lengths and the checksum of the sections.
    #[must_use]
    pub(crate) fn sealed(mut self, body: &[u8], names: &[u8]) -> Self {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).into();
        (self.body, self.names) = (length(body), length(names));
        self.checksum = checksum(&self, &[body, names]).into();
        self
    }

    /// Whether these bytes are the head of a block that this version reads.
    pub(crate) fn is_sound(&self) -> bool {
        let is_short = |length: U32| length.get() <= MAX_SECTION;
        self.magic == BLOCK_MAGIC && is_short(self.body) && is_short(self.names)
    }
}

/// The checksum of a block.
pub fn checksum(header: &BlockHeader, sections: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(BlockHeader { checksum: 0.into(), ..*header }.as_bytes());
    for section in sections {
        hasher.update(section);
    }
    hasher.finalize()
}

const _: () = assert!(size_of::<BlockHeader>() == 40);
