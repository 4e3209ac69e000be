//! droptrace's kernel program.
//!
//! Each file in [`probe`] is one tracepoint. A drop goes through [`probe`]: enter under the guard of this CPU
//! ([`guard`]), read the fields ([`skb`]), apply the filters ([`filter`]), count ([`account`], and [`flow`] if flows are
//! wanted), and, if records are wanted, send a record ([`record`]) that the sampler lets pass ([`sampler`]). [`segment`] sends what the
//! join with retransmissions needs. The way in which memory is read depends
//! on the kernel and on the attach mode ([`memory`]); [`config`] has the constants that userspace writes before
//! loading. [`log`] has rare events, for who develops this program.
//! [`namespace`] is not attached: userspace runs it to find the namespace of an open file.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod account;
#[cfg(target_arch = "bpf")]
mod config;
#[cfg(target_arch = "bpf")]
mod filter;
#[cfg(target_arch = "bpf")]
mod flow;
#[cfg(target_arch = "bpf")]
mod guard;
#[cfg(target_arch = "bpf")]
mod headers;
#[cfg(target_arch = "bpf")]
mod log;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod namespace;
#[cfg(target_arch = "bpf")]
mod probe;
#[cfg(target_arch = "bpf")]
mod record;
#[cfg(target_arch = "bpf")]
mod sampler;
#[cfg(target_arch = "bpf")]
mod section;
#[cfg(target_arch = "bpf")]
mod segment;
#[cfg(target_arch = "bpf")]
mod skb;

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
    // The verifier rejects a program in which a panic can be reached.
    loop {}
}
