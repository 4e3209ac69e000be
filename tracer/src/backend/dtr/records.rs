//! Records of the BPF program, as they came from the ring buffer.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of records that make a block full. More bytes would not stay in the CPU's cache until the block is written.
const FULL: usize = 256 << 10;

/// The records of one block, each after its length. Allocated memory is used again.
#[derive(Clone, Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    count: u32,
}

impl Records {
    /// Removes all records.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Whether the block should be written before more records are read.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Adds a record. A record is shorter than [`tracer_common::MAX_SNAPLEN`] and its header and call stack.
    pub fn push(&mut self, record: &[u8]) {
        let Ok(length) = u32::try_from(record.len()) else { return };
        self.bytes.extend_from_slice(U32::from(length).as_bytes());
        self.bytes.extend_from_slice(record);
        self.count += 1;
    }

    /// Number of records.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The section of a block.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        records(&self.bytes)
    }
}

/// The records of a block's section. A record that is cut is the end.
pub fn records(mut section: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = U32::read_from_prefix(section).ok()?;
        let (record, rest) = rest.split_at_checked(usize::try_from(length.get()).ok()?)?;
        section = rest;
        Some(record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_added() {
        let mut block = Records::default();
        for _ in 0..2 {
            block.clear();
            for record in [&b"one"[..], b"", b"three"] {
                block.push(record);
            }
            assert_eq!((block.count(), block.iter().collect::<Vec<_>>()), (3, vec![&b"one"[..], b"", b"three"]));
        }
        let cut = &block.as_bytes()[..block.as_bytes().len() - 1];
        assert_eq!(records(cut).collect::<Vec<_>>(), [&b"one"[..], b""]);
    }

    #[test]
    fn a_block_with_many_bytes_is_full_until_it_is_cleared() {
        let mut block = Records::default();
        while !block.is_full() {
            block.push(&[0; 1000]);
        }
        assert_eq!(block.count() as usize, FULL.div_ceil(1004));
        block.clear();
        assert!(!block.is_full() && block.iter().next().is_none());
    }
}
