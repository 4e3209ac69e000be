//! The name of the interface on which a packet was dropped.

use tracer_common::{ABSENT, DropFacts, IFNAMSIZ, InterfaceName};

use super::is_kernel;
use crate::config::{Bytes, at, config};
use crate::memory::Memory;

/// Buckets of a namespace's hash of interfaces (`NETDEV_HASHBITS`, `include/net/net_namespace.h`).
const NETDEV_HASHENTRIES: u32 = 1 << 8;
/// The most interfaces of one bucket that are visited: enough for four thousand interfaces.
const MAX_CHAIN: u32 = 16;

/// The name of the packet's device. A packet that has lost its device (TCP removes it) has the name of the interface
/// that received it; zeros if neither is known. This function is for rare use, because it walks the kernel's list.
///
/// # Safety
/// `skb` must be the packet of `dropped`, or NULL without one.
#[inline(always)]
pub(crate) unsafe fn interface_name<M: Memory>(skb: *const u8, dropped: &DropFacts) -> InterfaceName {
    // SAFETY: `dropped` has a verified device and a verified namespace.
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
    // SAFETY: `net_device.name` is an array of `IFNAMSIZ` bytes, which are read as two words.
    joined(unsafe { [M::load(device, at!(dev_name)), M::load(device, at!(dev_name, 1))] })
}

fn joined(words: [u64; 2]) -> InterfaceName {
    let mut name = [0; IFNAMSIZ];
    name[..8].copy_from_slice(&words[0].to_ne_bytes());
    name[8..].copy_from_slice(&words[1].to_ne_bytes());
    name
}

/// The name of an interface, by its index within a namespace; zeros if it no longer exists.
///
/// # Safety
/// `net` must be a `struct net`.
#[inline(always)]
unsafe fn name_by_index<M: Memory>(net: u64, ifindex: u32) -> InterfaceName {
    let device = device_by_index::<M>(net, ifindex);
    if device == 0 {
        return [0; IFNAMSIZ];
    }
    // SAFETY: as in `device_name`.
    joined(unsafe { [M::chase(device, at!(dev_name)), M::chase(device, at!(dev_name, 1))] })
}

/// The device with this index within a namespace; 0 if it no longer exists (`__dev_get_by_index`, `net/core/dev.c`).
/// This is a separate function, so that the verifier walks it only as often as it is called.
#[inline(never)]
fn device_by_index<M: Memory>(net: u64, ifindex: u32) -> u64 {
    let link = config!(offsets.dev_index_hlist);
    if config!(offsets.net_dev_index_head) == ABSENT || link == ABSENT {
        return 0;
    }
    let bucket = u64::from(ifindex & (NETDEV_HASHENTRIES - 1)) * size_of::<u64>() as u64;
    // SAFETY: a value that cannot be read is 0, which ends the walk.
    unsafe {
        let heads: u64 = M::chase(net, at!(net_dev_index_head));
        let mut entry: u64 = M::chase(heads.wrapping_add(bucket), Bytes::<0>);
        for _ in 0..MAX_CHAIN {
            if !is_kernel(entry) {
                break;
            }
            let device = entry.wrapping_sub(u64::from(link));
            if M::chase::<u32>(device, at!(dev_ifindex)) == ifindex {
                return device;
            }
            entry = M::chase(entry, Bytes::<0>);
        }
    }
    0
}
