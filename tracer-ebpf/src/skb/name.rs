//! The name of the interface that a packet was dropped on.

use tracer_common::{ABSENT, DropFacts, IFNAMSIZ, InterfaceName};

use super::is_kernel;
use crate::config::config;
use crate::memory::Memory;

/// Buckets of a namespace's hash of interfaces (`NETDEV_HASHBITS`, `include/net/net_namespace.h`).
const NETDEV_HASHENTRIES: u32 = 1 << 8;
/// Interfaces of one bucket that are looked at: enough for four thousand interfaces.
const MAX_CHAIN: u32 = 16;

/// The name of the packet's device; for a packet that has lost its device (TCP takes it away) the name of the interface
/// that it came in by; zeros where neither is known. For rare use: it walks the kernel's list.
///
/// # Safety
/// `skb` must be the packet of `dropped`, or NULL where there is none.
#[inline(always)]
pub(crate) unsafe fn interface_name<M: Memory>(skb: *const u8, dropped: &DropFacts) -> InterfaceName {
    // SAFETY: `dropped` holds what was proved to be a device and a namespace.
    unsafe {
        if dropped.device != 0 {
            return device_name::<M>(M::device_of(skb, dropped));
        }
        if dropped.net == 0 || dropped.key.ifindex == 0 {
            return [0; IFNAMSIZ];
        }
        name_by_index::<M>(dropped.net, dropped.key.ifindex)
    }
}

/// The name of a device.
///
/// # Safety
/// `device` must be a root.
#[inline(always)]
pub(crate) unsafe fn device_name<M: Memory>(device: *const u8) -> InterfaceName {
    let offset = config!(offsets.dev_name);
    if offset == ABSENT {
        return [0; IFNAMSIZ];
    }
    // SAFETY: `net_device.name` is an array of `IFNAMSIZ` bytes; two words are as good as sixteen bytes.
    joined(unsafe { [M::load::<u64>(device, offset), M::load::<u64>(device, offset + 8)] })
}

fn joined(words: [u64; 2]) -> InterfaceName {
    let mut name = [0; IFNAMSIZ];
    name[..8].copy_from_slice(&words[0].to_ne_bytes());
    name[8..].copy_from_slice(&words[1].to_ne_bytes());
    name
}

/// The name of an interface, by its index within a namespace; zeros when it is gone.
///
/// # Safety
/// `net` must be a `struct net`.
#[inline(always)]
unsafe fn name_by_index<M: Memory>(net: u64, ifindex: u32) -> InterfaceName {
    let offset = config!(offsets.dev_name);
    if offset == ABSENT {
        return [0; IFNAMSIZ];
    }
    let device = device_by_index::<M>(net, ifindex);
    if device == 0 {
        return [0; IFNAMSIZ];
    }
    // SAFETY: as in `device_name`.
    joined(unsafe { [M::chase(device, offset), M::chase(device, offset + 8)] })
}

/// The device of an index within a namespace; 0 when it is gone (`__dev_get_by_index`, `net/core/dev.c`). A
/// function of its own, so that the verifier walks it only as often as it is called.
#[inline(never)]
fn device_by_index<M: Memory>(net: u64, ifindex: u32) -> u64 {
    let (head, link) = (config!(offsets.net_dev_index_head), config!(offsets.dev_index_hlist));
    if head == ABSENT || link == ABSENT {
        return 0;
    }
    let bucket = u64::from(ifindex & (NETDEV_HASHENTRIES - 1)) * size_of::<u64>() as u64;
    // SAFETY: what cannot be read is 0, which ends the walk.
    unsafe {
        let heads: u64 = M::chase(net, head);
        let mut entry: u64 = M::chase(heads.wrapping_add(bucket), 0);
        for _ in 0..MAX_CHAIN {
            if !is_kernel(entry) {
                break;
            }
            let device = entry.wrapping_sub(u64::from(link));
            if M::chase::<u32>(device, config!(offsets.dev_ifindex)) == ifindex {
                return device;
            }
            entry = M::chase(entry, 0);
        }
    }
    0
}
