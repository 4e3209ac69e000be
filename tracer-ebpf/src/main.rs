//! droptrace's kernel program.
//!
//! Each file in [`probe`] is one tracepoint. A drop goes through [`probe`]: enter under the guard of this CPU
//! ([`guard`]), read the fields ([`skb`]), apply the filters ([`filter`]), count ([`account`]), and, when asked for, send a record ([`record`]) that the
//! sampler lets pass ([`sampler`]). How memory is read differs by kernel and by the way to attach ([`memory`]).
//! [`namespace`] is attached to nothing: userspace runs it to ask which namespace a file stands for.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod account;
#[cfg(target_arch = "bpf")]
mod config;
#[cfg(target_arch = "bpf")]
mod filter;
#[cfg(target_arch = "bpf")]
mod guard;
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
    // The verifier refuses a program in which a panic can be reached.
    loop {}
}
