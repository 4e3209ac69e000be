//! A drop's line of JSON allocates nothing, once the first one has made room.

#![expect(unsafe_code, reason = "counting allocations takes an allocator of its own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;

use tracer::event::{DropEvent, Location, Origin, PacketStart, Place, Reason, Symbol, Timestamp};
use tracer::sink::{DropSink as _, TraceJson};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_line_of_json_allocates_nothing() {
    let symbol = Symbol { name: "udp_queue_rcv_one_skb".into(), offset: 423, module: Some("udp".into()) };
    let place = Place {
        reason: Reason { value: Some(6), subsystem: "core".into(), name: "SOCKET_RCVBUFF".into() }.into(),
        location: Location { address: u64::MAX, symbol: Some(symbol) }.into(),
        protocol: 0x86dd,
        interface: Some("enp0s31f6".into()),
        ifindex: 1,
        netns: 4_026_531_833,
        netns_name: Some("blue".into()),
    };
    // IPv6 with a UDP header and nothing else: the longest addresses.
    let mut bytes = [0xab; 48];
    bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 8, 17, 64]);
    let event = DropEvent {
        timestamp: Timestamp(1_767_225_600_000_000_000),
        place: &place,
        seen_by: &[Origin::Ebpf],
        length: 48,
        start: PacketStart::Network,
        bytes: &bytes,
    };
    let mut sink = TraceJson::new(io::sink());
    sink.event(&event).unwrap();
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the allocator does not count");
    for _ in 0..1_000 {
        sink.event(&event).unwrap();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
