//! droptrace's kernel program on the `skb:kfree_skb` tracepoint (`include/trace/events/skb.h`).
//!
//! One drop goes through [`kfree_skb`]: read the fields ([`skb`]), count ([`account`]), and, when asked for, send a
//! record ([`record`]). What differs between the two ways to attach is only how memory is read ([`memory`]).
//!
//! Two programs beside it are attached where the kernel has their tracepoints: [`qdisc`] tells the exact reason of what
//! queueing disciplines drop, [`trap`] counts what devices drop.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod account;
#[cfg(target_arch = "bpf")]
mod config;
#[cfg(target_arch = "bpf")]
mod kfree_skb;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod qdisc;
#[cfg(target_arch = "bpf")]
mod record;
#[cfg(target_arch = "bpf")]
mod skb;
#[cfg(target_arch = "bpf")]
mod trap;

/// The program only exists for the kernel; on the host there is nothing to run.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Needed for helpers that the kernel keeps for GPL-compatible programs.
#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which a panic can be reached.
    loop {}
}
