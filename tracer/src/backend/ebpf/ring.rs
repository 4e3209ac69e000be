//! Reads records from the ring buffer in batches, as they come.

use std::io;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::record::{Record, Report};
use super::sys;
use crate::backend::batch::Batch;
use crate::backend::dtr::Records;

/// Interval of the reader's own reads: the longest time that a record waits when there are few.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Numbers of the records of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records that could be decoded.
    pub delivered: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
}

impl Drained {
    /// Records that were taken from the ring buffer.
    pub const fn taken(&self) -> u64 {
        self.delivered + self.undecodable
    }

    /// Adds the records of another batch.
    pub const fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.undecodable += other.undecodable;
    }
}

/// The reading end of the ring buffer.
///
/// A record is whole when it is read, also on processors that reorder memory accesses: the kernel clears its busy mark by an
/// exchange, which is a full barrier, after the program's stores (`bpf_ringbuf_commit`, `kernel/bpf/ringbuf.c`), and the
/// reader takes the mark with acquire. The reader gives room back with release, after its last access to the record
/// ([`RingBuf::next`] and the end of its item), and the kernel takes the position with acquire before it reuses the room.
pub struct RingReader {
    ring: AsyncFd<RingBuf<MapData>>,
    poll: Interval,
}

impl RingReader {
    /// The caller must be within a tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { ring: sys::watch(ring)?, poll })
    }

    /// Waits until records may be there: the kernel program wakes the reader when many bytes wait, else a timer does.
    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        tokio::select! {
            _ = self.poll.tick() => {}
            guard = self.ring.readable() => guard?.clear_ready(),
        }
        Ok(())
    }

    /// Adds the records that are there to `batch`, at most `limit`, until it is full.
    pub fn read(&mut self, batch: &mut Batch<Report>, limit: u64) -> Drained {
        let mut drained = Drained::default();
        let ring = self.ring.get_mut();
        while drained.taken() < limit
            && !batch.is_full()
            && let Some(item) = ring.next()
        {
            match Record::parse(&item) {
                Some(record) => {
                    batch.push(record.report, record.bytes);
                    drained.delivered += 1;
                }
                None => drained.undecodable += 1,
            }
        }
        drained
    }

    /// Copies the records that are there to `block` without decoding them, at most `limit`, until it is full.
    pub fn copy(&mut self, block: &mut Records, limit: u64) -> Drained {
        let mut drained = Drained::default();
        let ring = self.ring.get_mut();
        while drained.taken() < limit
            && !block.is_full()
            && let Some(item) = ring.next()
        {
            match Record::used(&item) {
                Some(record) => {
                    block.push(record);
                    drained.delivered += 1;
                }
                None => drained.undecodable += 1,
            }
        }
        drained
    }
}
