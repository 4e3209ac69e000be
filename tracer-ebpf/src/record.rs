//! The event plane: records of single drops, bounded, with a counter for each one that is not sent.

use aya_ebpf::bindings::{BPF_ANY, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_probe_read_kernel};
use tracer_common::{Bucket, BucketKey, Counters, RECORD_SKB, RECORD_TRAP, RecordHeader, START_NONE, TrapNames};

use crate::account::ticks;
use crate::config::config;
use crate::maps::{BUCKETS, RECORDS};
use crate::memory::Memory;
use crate::skb::Dropped;

const SECOND: u64 = 1_000_000_000;
const HEADER: usize = size_of::<RecordHeader>();

/// Sends a record of `dropped`, of a hardware drop with its names, or counts why not.
///
/// # Safety
/// `counters` must be this CPU's own.
#[inline(always)]
pub(crate) unsafe fn send<M: Memory>(counters: *mut Counters, dropped: &Dropped, names: Option<&TrapNames>) {
    let (kind, head) = match names {
        None => (RECORD_SKB, HEADER),
        Some(_) => (RECORD_TRAP, HEADER + size_of::<TrapNames>()),
    };
    // SAFETY: the caller's.
    unsafe {
        (*counters).offered += 1;
        if !within_rate(dropped) {
            (*counters).suppressed += 1;
            return;
        }
        let size = head + config!(snaplen) as usize;
        let Some(mut entry) = RECORDS.reserve_bytes(size, 0) else {
            (*counters).ring_full += 1;
            return;
        };
        let record = entry.as_mut_ptr();
        if let Some(names) = names {
            record.add(HEADER).cast::<TrapNames>().write(*names);
        }
        let (captured, start) = capture(record.add(head), dropped);
        if captured == 0 && config!(snaplen) != 0 {
            (*counters).unreadable += 1;
        }
        record.cast::<RecordHeader>().write(RecordHeader {
            timestamp_ns: bpf_ktime_get_ns(),
            key: dropped.key,
            length: dropped.length,
            captured,
            start,
            kind,
            interface: dropped.device_name::<M>(),
        });
        (*counters).submitted += 1;
        entry.submit(wakeup_flags(size as u64));
    }
}

/// Copies the packet's leading bytes to `to`, which has room for `snaplen`; how many, and what they start with or
/// would start with.
///
/// # Safety
/// `to` must have room for `snaplen` bytes.
#[inline(always)]
unsafe fn capture(to: *mut u8, dropped: &Dropped) -> (u16, u8) {
    let snaplen = config!(snaplen);
    if snaplen == 0 || dropped.start_kind == START_NONE {
        return (0, dropped.start_kind);
    }
    let mut size = u64::from(snaplen);
    if dropped.linear < size {
        size = dropped.linear;
    }
    // SAFETY: `size` is at most `snaplen`; the helper fails on addresses that cannot be read.
    let result = unsafe { bpf_probe_read_kernel(to.cast(), size as u32, dropped.start as *const _) };
    (if result == 0 { size as u16 } else { 0 }, dropped.start_kind)
}

/// Takes a token from the bucket of the place and reason on this CPU. True also when there is no bound.
#[inline(always)]
fn within_rate(dropped: &Dropped) -> bool {
    let rate = u64::from(config!(rate));
    if rate == 0 {
        return true;
    }
    let now = ticks();
    let key = BucketKey { location: dropped.key.location, reason: dropped.key.reason, padding: 0 };
    let Some(bucket) = BUCKETS.get_ptr_mut(key) else {
        // Should there be no room, the ring still bounds what is sent.
        let _ = BUCKETS.insert(key, Bucket { since_ticks: now, tokens: rate - 1 }, BPF_ANY.into());
        return true;
    };
    // SAFETY: the element is this CPU's own.
    let bucket = unsafe { &mut *bucket };
    refill(bucket, rate, now);
    if bucket.tokens == 0 {
        return false;
    }
    bucket.tokens -= 1;
    true
}

/// Adds the tokens that came since the last time, up to one second's.
#[inline(always)]
fn refill(bucket: &mut Bucket, rate: u64, now: u64) {
    let tick = u64::from(config!(tick_ns));
    let elapsed = now.wrapping_sub(bucket.since_ticks) * tick;
    if elapsed >= SECOND {
        *bucket = Bucket { since_ticks: now, tokens: rate };
        return;
    }
    let gained = elapsed * rate / SECOND;
    if gained > 0 {
        // The fraction of a token that this gives away is less than a tick's.
        bucket.since_ticks = now;
        bucket.tokens = if bucket.tokens + gained < rate { bucket.tokens + gained } else { rate };
    }
}

/// Wakes the reader by the one record that lifts the waiting bytes over the mark. It looks by itself every few
/// milliseconds, and a wake-up for each record would cost a hundred times the record.
#[inline(always)]
fn wakeup_flags(size: u64) -> u64 {
    let mark = u64::from(config!(wakeup_bytes));
    let waiting = RECORDS.query(BPF_RB_AVAIL_DATA.into());
    let crosses = waiting >= mark && waiting < mark + size;
    if crosses { BPF_RB_FORCE_WAKEUP.into() } else { BPF_RB_NO_WAKEUP.into() }
}
