//! The two ways to read kernel memory.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use tracer_common::ABSENT;

/// Reads fields of kernel structures.
pub(crate) trait Memory {
    /// Reads the `T` that stands `offset` bytes from `base`; 0 where that cannot be read.
    ///
    /// # Safety
    /// `base` must be a pointer that the program was given or has read as one; `T` must be a plain number or pointer.
    unsafe fn load<T: Copy + Default>(base: *const u8, offset: u32) -> T;

    /// As [`Memory::load`], and 0 for a field that this kernel does not have.
    ///
    /// # Safety
    /// As [`Memory::load`].
    #[inline(always)]
    unsafe fn load_if_present<T: Copy + Default>(base: *const u8, offset: u32) -> T {
        if offset == ABSENT {
            T::default()
        } else {
            // SAFETY: the caller's.
            unsafe { Self::load(base, offset) }
        }
    }
}

/// Plain loads. The verifier knows the type of the pointer and, the offset being constant, checks the access as one
/// of a field. A load that faults reads 0 (`ex_handler_bpf`, `arch/x86/net/bpf_jit_comp.c`), unless the pointer is one that
/// the verifier trusts, such as an argument of the tracepoint: so of those only `skb`, which is never NULL, is read so.
pub(crate) struct Direct;

impl Memory for Direct {
    #[inline(always)]
    unsafe fn load<T: Copy + Default>(base: *const u8, offset: u32) -> T {
        // SAFETY: checked by the verifier; volatile, so that the compiler leaves each load as it stands.
        unsafe { core::ptr::read_volatile(base.wrapping_add(offset as usize).cast()) }
    }
}

/// The helper, for programs whose pointers have no type.
pub(crate) struct Probe;

impl Memory for Probe {
    #[inline(always)]
    unsafe fn load<T: Copy + Default>(base: *const u8, offset: u32) -> T {
        // SAFETY: the helper fails on addresses that cannot be read.
        unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast()) }.unwrap_or_default()
    }
}
