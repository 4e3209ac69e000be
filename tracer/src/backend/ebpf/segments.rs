//! Reads the records of dropped segments and of retransmissions.

use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracer_common::{DroppedSegment, Retransmission, SEGMENT_DROPPED, SEGMENT_RETRANSMITTED};
use zerocopy::FromBytes;

/// Interval of the reader's reads; the kernel program does not wake the reader.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A record of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A packet of TCP was dropped.
    Dropped(DroppedSegment),
    /// A socket sent a segment again.
    Retransmitted(Retransmission),
}

impl Segment {
    /// Parses a record; absent for bytes that the kernel program cannot have written.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = u32::read_from_prefix(bytes).ok()?.0;
        match kind {
            SEGMENT_DROPPED => DroppedSegment::read_from_bytes(bytes).ok().map(Self::Dropped),
            SEGMENT_RETRANSMITTED => Retransmission::read_from_bytes(bytes).ok().map(Self::Retransmitted),
            _ => None,
        }
    }
}

/// The reading end of the ring buffer. Records are in the order of the events, because the kernel program reserves each one
/// at its event.
pub struct SegmentReader {
    ring: RingBuf<MapData>,
    poll: Interval,
}

impl SegmentReader {
    /// The caller must be within a tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ring, poll }
    }

    /// Waits until it is time to read.
    pub(crate) async fn ready(&mut self) {
        self.poll.tick().await;
    }

    /// The next record, or `None` at the end. The inner value is absent for a record that cannot be decoded.
    pub fn read(&mut self) -> Option<Option<Segment>> {
        self.ring.next().map(|item| Segment::parse(&item))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    #[test]
    fn records_are_distinguished_by_their_kind() {
        let dropped = DroppedSegment { kind: SEGMENT_DROPPED, available: 7, ..DroppedSegment::new_zeroed() };
        assert_eq!(Segment::parse(dropped.as_bytes()), Some(Segment::Dropped(dropped)));
        let again = Retransmission { kind: SEGMENT_RETRANSMITTED, start: 7, ..Retransmission::new_zeroed() };
        assert_eq!(Segment::parse(again.as_bytes()), Some(Segment::Retransmitted(again)));
        assert_eq!(Segment::parse(Retransmission { kind: 9, ..again }.as_bytes()), None);
        assert_eq!(Segment::parse(&again.as_bytes()[..60]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Segment::parse(&bytes);
        }
    }
}
