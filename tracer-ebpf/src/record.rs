//! The event plane: records of single drops, bounded, with a counter for each one that is not sent.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_probe_read_kernel};
use tracer_common::{
    ABSENT, BYTES_CAST, BYTES_NONE, MAX_SNAPLEN, RecordHeader, SECTION_DEVICE, SECTION_VLAN, START_NONE,
};

use crate::config::config;
use crate::guard::Held;
use crate::maps::RECORDS;
use crate::memory::{Memory, Typed};
use crate::sampler;
use crate::skb::Dropped;

const HEADER: usize = size_of::<RecordHeader>();
/// Bytes that are read at a time where the helper is refused.
const CHUNK: usize = 8;

/// Sends a record of `dropped`, or counts why not.
#[inline(always)]
pub(crate) fn send<M: Memory>(held: &Held, skb: *const u8, dropped: &Dropped) {
    // SAFETY: the elements are this CPU's own.
    unsafe {
        let counters = &raw mut (*held.counts).counters;
        (*counters).offered += 1;
        if !sampler::lets_pass(held.state, dropped) {
            (*counters).suppressed += 1;
            return;
        }
        let size = HEADER + config!(snaplen) as usize;
        let Some(mut entry) = RECORDS.reserve_bytes(size, 0) else {
            (*counters).ring_full += 1;
            return;
        };
        let record = entry.as_mut_ptr();
        let captured = capture(record.add(HEADER), dropped);
        if captured == 0 && config!(snaplen) != 0 {
            (*counters).unreadable += 1;
        }
        let header = record.cast::<RecordHeader>();
        header.write(RecordHeader {
            timestamp_ns: bpf_ktime_get_ns(),
            key: dropped.key,
            length: dropped.length,
            captured,
            start: dropped.start_kind,
            sections: 0,
            interface: dropped.device_name::<M>(),
            netns_inum: dropped.net.inum,
            cpu: bpf_get_smp_processor_id(),
            vlan_tci: 0,
            vlan_proto: 0,
            mark: M::field_if_present(skb, config!(offsets.skb_mark)),
            mtu: 0,
            queue: M::field_if_present(skb, config!(offsets.skb_queue)),
            mac: [0; 6],
            padding: 0,
        });
        (*header).sections = vlan::<M>(header, skb) | device::<M>(header, dropped);
        (*counters).submitted += 1;
        entry.submit(wakeup_flags(size as u64));
    }
}

/// The VLAN tag that the kernel took out of the bytes (`__vlan_hwaccel_put_tag`, `include/linux/if_vlan.h`). Before 6.2 a
/// bit says whether there is one; then the protocol does, which is cleared with it.
///
/// # Safety
/// `header` must be a record's; `skb` the tracepoint's.
#[inline(always)]
unsafe fn vlan<M: Memory>(header: *mut RecordHeader, skb: *const u8) -> u8 {
    let (tci, proto, present) =
        (config!(offsets.skb_vlan_tci), config!(offsets.skb_vlan_proto), config!(offsets.skb_vlan_present));
    if tci == ABSENT || proto == ABSENT {
        return 0;
    }
    // SAFETY: the caller's.
    unsafe {
        if present != ABSENT && u32::from(M::field::<u8>(skb, present)) & config!(vlan_present_mask) == 0 {
            return 0;
        }
        let protocol = u16::from_be(M::field(skb, proto));
        if protocol == 0 {
            return 0;
        }
        (*header).vlan_proto = protocol;
        (*header).vlan_tci = M::field(skb, tci);
    }
    SECTION_VLAN
}

/// What the packet's device is like.
///
/// # Safety
/// `header` must be a record's.
#[inline(always)]
unsafe fn device<M: Memory>(header: *mut RecordHeader, dropped: &Dropped) -> u8 {
    if dropped.device.pointer.is_null() {
        return 0;
    }
    // SAFETY: the pointer is the device's; an address of six bytes stands in an array of at least eight.
    unsafe {
        (*header).mtu = M::load(dropped.device.pointer, config!(offsets.dev_mtu));
        let address: usize = M::load(dropped.device.pointer, config!(offsets.dev_addr));
        let bytes = M::chase::<u64>(address as u64, 0).to_ne_bytes();
        (*header).mac = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]];
    }
    SECTION_DEVICE
}

/// Copies the packet's leading bytes to `to`, which has room for `snaplen`; how many.
///
/// # Safety
/// `to` must have room for `snaplen` bytes.
#[inline(always)]
unsafe fn capture(to: *mut u8, dropped: &Dropped) -> u16 {
    let snaplen = config!(snaplen);
    if snaplen == 0 || config!(bytes) == BYTES_NONE || dropped.start_kind == START_NONE {
        return 0;
    }
    let mut size = u64::from(snaplen);
    if dropped.linear < size {
        size = dropped.linear;
    }
    if config!(bytes) == BYTES_CAST {
        // SAFETY: the caller's.
        return unsafe { capture_by_cast(to, dropped.start, size) };
    }
    // SAFETY: `size` is at most `snaplen`; the helper fails on addresses that cannot be read.
    let result = unsafe { bpf_probe_read_kernel(to.cast(), size as u32, dropped.start as *const _) };
    if result == 0 { size as u16 } else { 0 }
}

/// As [`capture`], without the helper. Userspace makes `snaplen` a multiple of [`CHUNK`] for it.
///
/// # Safety
/// As [`capture`].
#[inline(always)]
unsafe fn capture_by_cast(to: *mut u8, start: u64, size: u64) -> u16 {
    let snaplen = config!(snaplen) as usize;
    let mut at = 0;
    for _ in 0..MAX_SNAPLEN as usize / CHUNK {
        if at + CHUNK > snaplen || at as u64 >= size {
            break;
        }
        // SAFETY: within `snaplen`; what cannot be read is 0.
        unsafe { to.add(at).cast::<u64>().write_unaligned(Typed::chase(start.wrapping_add(at as u64), 0)) };
        at += CHUNK;
    }
    size as u16
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
