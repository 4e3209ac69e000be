//! The built kernel program, as users load it: they need no toolchain for BPF. `cargo xtask build-ebpf` makes it from
//! `main.rs` and the modules beside it.
#![no_std]

/// The object file, aligned as its ELF header must be to be read without a copy.
#[cfg(not(target_arch = "bpf"))]
pub static OBJECT: &[u8] = &ALIGNED.0;

#[cfg(not(target_arch = "bpf"))]
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

#[cfg(not(target_arch = "bpf"))]
static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../droptrace.bpf.o"));
