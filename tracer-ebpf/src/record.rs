//! Events: records of single drops, with a limit and a counter of those that are not sent.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_probe_read_kernel};
use core::arch::asm;
use tracer_common::{
    BYTES_CAST, BYTES_NONE, DropFacts, IFNAMSIZ, MAX_SNAPLEN, RecordHeader, SECTION_STACK, STACK_BYTES, START_NONE,
};

use crate::config::{Bytes, at, config};
use crate::guard::Held;
use crate::maps::RECORDS;
use crate::memory::{Memory, Typed};
use crate::sampler;
use crate::section::{self, NO_SOCKET};
use crate::skb;

const HEADER: usize = size_of::<RecordHeader>();
/// Bytes that are read at a time if the kernel refuses the helper.
const CHUNK: usize = 8;

/// Sends a record of the current drop, or counts why it is not sent. `context` is the program's.
#[inline(never)]
pub(crate) fn send<M: Memory>(held: Held, skb: *const u8, context: *const u8) {
    let dropped = held.dropped();
    // SAFETY: the elements are this CPU's own.
    unsafe {
        let counters = &raw mut (*held.counts).counters;
        (*counters).offered += 1;
        skb::locate_sampled::<M>(held, skb);
        if !sampler::lets_pass(held.state, dropped) {
            (*counters).suppressed += 1;
            return;
        }
        let start = HEADER + if config!(stacks) == 0 { 0 } else { STACK_BYTES };
        let size = start + config!(snaplen) as usize;
        let Some(mut entry) = RECORDS.reserve_bytes(size, 0) else {
            (*counters).ring_full += 1;
            return;
        };
        let record = entry.as_mut_ptr();
        let captured = capture(record.add(start), dropped);
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
            sections: if config!(stacks) == 0 { 0 } else { SECTION_STACK },
            interface: [0; IFNAMSIZ],
            netns_inum: dropped.netns_inum,
            cpu: bpf_get_smp_processor_id(),
            vlan_tci: 0,
            vlan_proto: 0,
            mark: M::field(skb, at!(skb_mark)),
            queue: M::field(skb, at!(skb_queue)),
            mtu: 0,
            mac: [0; 6],
            route_mtu: 0,
            gso_size: 0,
            gso_segments: 0,
            stack: if config!(stacks) == 0 { 0 } else { stack(record.add(HEADER), context) },
            padding: 0,
            socket: NO_SOCKET,
        });
        section::write::<M>(header, held, skb, dropped);
        (*counters).submitted += 1;
        entry.submit(wakeup_flags(size as u64));
    }
}

/// Stores the call stack of the drop, from the innermost function on, and returns its number of bytes: 0 if it cannot be
/// read. The helper fills the rest of the room with zeros.
///
/// # Safety
/// `to` must have room for [`STACK_BYTES`]; `context` must be the program's.
#[inline(always)]
unsafe fn stack(to: *mut u8, context: *const u8) -> u16 {
    // SAFETY: the caller's.
    let size = unsafe { bpf_get_stack(context.cast_mut().cast(), to.cast(), STACK_BYTES as u32, 0) };
    if size > 0 { size.cast_unsigned() as u16 } else { 0 }
}

/// Copies the packet's leading bytes to `to`, which has room for `snaplen`, and returns their number.
///
/// # Safety
/// `to` must have room for `snaplen` bytes.
#[inline(always)]
unsafe fn capture(to: *mut u8, dropped: &DropFacts) -> u16 {
    let snaplen = config!(snaplen);
    if snaplen == 0 || config!(bytes) == BYTES_NONE || dropped.start_kind == START_NONE {
        return 0;
    }
    let size = lesser(dropped.linear, snaplen.into());
    if config!(bytes) == BYTES_CAST {
        // SAFETY: the caller's.
        return unsafe { capture_by_cast(to, dropped.start, size) };
    }
    // SAFETY: `size` is at most `snaplen`; the helper fails on addresses that cannot be read.
    let result = unsafe { bpf_probe_read_kernel(to.cast(), size as u32, dropped.start as *const _) };
    if result == 0 { size as u16 } else { 0 }
}

/// Returns the lesser of both, in the register that was compared. The compiler would use a copy that it had put on the
/// stack before, whose limits the verifier of 5.10 does not know.
#[inline(always)]
fn lesser(number: u64, most: u64) -> u64 {
    let mut lesser = number;
    // SAFETY: a comparison and a move.
    unsafe {
        asm!(
            "if {most} >= {lesser} goto +1",
            "{lesser} = {most}",
            lesser = inout(reg) lesser,
            most = in(reg) most,
            options(pure, nomem, nostack)
        );
    }
    lesser
}

/// Does the same as [`capture`], without the helper. Userspace makes `snaplen` a multiple of [`CHUNK`] for it.
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
        // SAFETY: within `snaplen`; bytes that cannot be read are 0.
        unsafe { to.add(at).cast::<u64>().write_unaligned(Typed::chase(start.wrapping_add(at as u64), Bytes::<0>)) };
        at += CHUNK;
    }
    size as u16
}

/// Wakes the reader with the one record that lifts the waiting bytes above the mark. The reader also polls every few
/// milliseconds, and a wake-up for each record would cost a hundred times the record.
#[inline(always)]
fn wakeup_flags(size: u64) -> u64 {
    let mark = u64::from(config!(wakeup_bytes));
    let waiting = RECORDS.query(BPF_RB_AVAIL_DATA.into());
    let crosses = waiting >= mark && waiting < mark + size;
    if crosses { BPF_RB_FORCE_WAKEUP.into() } else { BPF_RB_NO_WAKEUP.into() }
}
