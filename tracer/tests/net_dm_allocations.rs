//! An alert of the drop monitor is read without a copy.

#![expect(unsafe_code, reason = "counting allocations takes an allocator of its own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use netlink_packet_core::Emitable as _;
use tracer::netlink::wire;
use tracer::source::net_dm::{Attribute, Message};

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

/// A message with the attributes that Linux 6.12 sends, behind both its headers.
fn alert(command: u8, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[16] = command;
    for attribute in attributes {
        let start = bytes.len();
        bytes.resize(start + attribute.buffer_len(), 0);
        attribute.emit(&mut bytes[start..]);
    }
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

#[test]
fn alerts_are_read_without_allocating() {
    let packet = alert(
        5,
        &[
            Attribute::Origin(0),
            Attribute::Pc(0xffff_ffff_8204_5927),
            Attribute::Reason("SOCKET_RCVBUFF"),
            Attribute::Symbol("udp_queue_rcv_one_skb+0x1a7/0x3c0"),
            Attribute::InPort { ifindex: Some(1), name: None },
            Attribute::Timestamp(7),
            Attribute::OrigLen(1_500),
            Attribute::Protocol(0x800),
            Attribute::Payload(&[7; 128]),
        ],
    );
    let mut places = 64_u32.to_ne_bytes().to_vec();
    places.resize(4 + 64 * 12, 1);
    let summary = alert(1, &[Attribute::Places(&places)]);

    let before = ALLOCATIONS.get();
    let (mut lengths, mut hits) = (0_u64, 0_u64);
    for _ in 0..1_000 {
        for datagram in [&packet, &summary] {
            for message in wire::messages(datagram) {
                let (command, attributes) = message.unwrap().generic().unwrap();
                match Message::parse(command, attributes).unwrap().0 {
                    Message::Packet(alert) => lengths += u64::from(alert.length),
                    Message::Summary(alert) => hits += alert.places().map(|(_, hits)| u64::from(hits)).sum::<u64>(),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!((lengths, hits), (1_500_000, 1_000 * 64 * 0x0101_0101));
}
