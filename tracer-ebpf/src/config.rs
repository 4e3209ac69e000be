//! What userspace told the program before loading. Each read is of one field, so that the verifier, which knows the
//! contents of frozen read-only maps, sees a constant and drops the branches that it rules out.

use aya_ebpf::Global;
use tracer_common::{Config, Offsets};

#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(Config {
    kernel_space: 0,
    offsets: Offsets {
        skb_len: 0,
        skb_data_len: 0,
        skb_protocol: 0,
        skb_dev: 0,
        skb_iif: 0,
        skb_sk: 0,
        skb_head: 0,
        skb_data: 0,
        skb_mac_header: 0,
        skb_network_header: 0,
        dev_ifindex: 0,
        dev_name: 0,
        dev_net: 0,
        sock_net: 0,
        net_inum: 0,
        net_dev_index_head: 0,
        dev_index_hlist: 0,
        skb_refdst: 0,
        dst_dev: 0,
        trap_name: 0,
        trap_group_name: 0,
        trap_input_dev: 0,
        trap_type: 0,
    },
    has_reason: 0,
    has_rx_sk: 0,
    tick_ns: 0,
    events: 0,
    snaplen: 0,
    rate: 0,
    wakeup_bytes: 0,
    netns: 0,
    ifindex: 0,
    cache_mask: 0,
    qdisc_reason: 0,
    trap_control: 0,
    padding: 0,
});

/// Reads one field of [`CONFIG`], all of which but `kernel_space` are `u32`, as the kernel has it now.
macro_rules! config {
    ($($field:tt)+) => {
        $crate::config::read::<u32>(core::mem::offset_of!(tracer_common::Config, $($field)+))
    };
}
pub(crate) use config;

/// The least address that is the kernel's.
#[inline(always)]
pub(crate) fn kernel_space() -> u64 {
    read(core::mem::offset_of!(Config, kernel_space))
}

/// Reads the field at `offset`, which must be the offset of a `T` in [`Config`].
#[inline(always)]
pub(crate) fn read<T: Copy>(offset: usize) -> T {
    let config = (&raw const CONFIG).cast::<u8>();
    // SAFETY: within the global; volatile, for the loader changes what the compiler believes to be constant.
    unsafe { core::ptr::read_volatile(config.wrapping_add(offset).cast()) }
}
