//! Batches of drops that a backend reports.

use std::ops::Range;

/// Bytes of packets that make a batch full. More bytes would not stay in the CPU's cache until the consumer gets them.
const FULL: usize = 64 << 10;

/// Reports of single drops with the leading bytes of their packets. Allocated memory is used again.
#[derive(Debug)]
pub struct Batch<T> {
    reports: Vec<(T, Range<usize>)>,
    bytes: Vec<u8>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { reports: Vec::new(), bytes: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// Removes all reports.
    pub fn clear(&mut self) {
        self.reports.clear();
        self.bytes.clear();
    }

    /// Whether the bytes of packets are so many that the reports should be consumed first.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Adds one drop.
    pub fn push(&mut self, report: T, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.reports.push((report, start..self.bytes.len()));
    }

    /// Each drop and the leading bytes of its packet, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (&T, &[u8])> {
        self.reports.iter().map(|(report, bytes)| (report, &self.bytes[bytes.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_with_many_bytes_is_full_until_it_is_cleared() {
        let mut batch = Batch::default();
        while !batch.is_full() {
            batch.push((), &[0; 1000]);
        }
        assert_eq!(batch.iter().count(), FULL.div_ceil(1000));
        batch.clear();
        assert!(!batch.is_full());
    }

    #[test]
    fn each_report_has_its_own_bytes() {
        let mut batch = Batch::default();
        for _ in 0..2 {
            batch.clear();
            batch.push(1, b"one");
            batch.push(2, b"");
            batch.push(3, b"three");
            let found: Vec<_> = batch.iter().collect();
            assert_eq!(found, [(&1, &b"one"[..]), (&2, b""), (&3, b"three")]);
        }
    }
}
