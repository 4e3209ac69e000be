//! The ways to read kernel memory.
//!
//! One rule keeps the host safe: **only the tracepoint's `skb` is read by loads through a trusted pointer.** It is never
//! NULL and always a live `sk_buff`. What lies beyond it is read so that a wrong address yields 0 and no fault: by loads
//! through pointers that the verifier does not trust, or by the helper. The verifier turns loads through untrusted
//! pointers into loads with an entry in the exception table (`BPF_PROBE_MEM`, `convert_ctx_accesses`,
//! `kernel/bpf/verifier.c`); those through trusted and RCU pointers, such as the argument `rx_sk` and the field `skb->sk`,
//! stay plain loads, and from 6.5 on a NULL check of a trusted pointer is deleted as redundant.

use core::arch::asm;
use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{ABSENT, CALL_RDONLY_CAST, DropFacts, READ_CAST};

use crate::config::{Bytes, Position, at, config};

/// Reads fields of kernel structures: 0 for a field that this kernel does not have.
pub(crate) trait Memory {
    /// Reads a field of the tracepoint's `sk_buff`.
    ///
    /// # Safety
    /// `skb` must be the tracepoint's; `T` must be a plain number or pointer.
    unsafe fn field<T: Copy + Default>(skb: *const u8, position: impl Position) -> T;

    /// Reads a field of the tracepoint's `sk_buff` that is a pointer to a structure, for [`Memory::root`].
    ///
    /// # Safety
    /// As [`Memory::field`].
    #[inline(always)]
    unsafe fn pointer(skb: *const u8, position: impl Position) -> *const u8 {
        // SAFETY: the caller's.
        unsafe { Self::field::<usize>(skb, position) as *const u8 }
    }

    /// Converts a pointer that was read from the `sk_buff` or passed as an argument for [`Memory::load`]. `type_id` is
    /// the BTF id of the structure to which it should point.
    fn root(pointer: *const u8, type_id: u32) -> *const u8;

    /// Whether [`Memory::root`] accepts an address that was stored as a number.
    fn takes_numbers() -> bool;

    /// The packet's device, as a root again: `dropped` has its address as a number.
    ///
    /// # Safety
    /// `skb` must be the packet of `dropped`, which has a device, or NULL where there is none.
    unsafe fn device_of(skb: *const u8, dropped: &DropFacts) -> *const u8;

    /// Reads a field through a root, or through a pointer that was loaded through one; 0 if it cannot be read.
    ///
    /// # Safety
    /// `base` must come from [`Memory::root`] or [`Memory::load`]; `T` must be a plain number or pointer.
    unsafe fn load<T: Copy + Default>(base: *const u8, position: impl Position) -> T;

    /// Reads a field of a structure whose address is a mere number to the verifier; 0 where it cannot be read. The result
    /// is a mere number as well.
    ///
    /// # Safety
    /// `T` must be a plain number.
    unsafe fn chase<T: Copy + Default>(address: u64, position: impl Position) -> T;
}

/// For programs whose arguments have types (`tp_btf`).
pub(crate) struct Typed;

impl Memory for Typed {
    #[inline(always)]
    unsafe fn field<T: Copy + Default>(skb: *const u8, position: impl Position) -> T {
        // SAFETY: the verifier checks the access as one of a field.
        unsafe { position.load(skb) }
    }

    /// Reads through an untrusted pointer: for a pointer that is read through a trusted one, the verifier searches all
    /// names of the kernel's BTF (`btf_nested_type_is_trusted`), which takes a millisecond each time.
    #[inline(always)]
    unsafe fn pointer(skb: *const u8, position: impl Position) -> *const u8 {
        // SAFETY: the caller's.
        unsafe { position.load(rdonly_cast(skb, config!(types.sk_buff))) }
    }

    #[inline(always)]
    fn root(pointer: *const u8, type_id: u32) -> *const u8 {
        rdonly_cast(pointer, type_id)
    }

    #[inline(always)]
    fn takes_numbers() -> bool {
        config!(reads) == READ_CAST
    }

    #[inline(always)]
    unsafe fn device_of(skb: *const u8, dropped: &DropFacts) -> *const u8 {
        if !Self::takes_numbers() {
            // SAFETY: the caller's. Only a pointer that comes from a field can be read through; the pointer has not
            // changed.
            return unsafe { Self::pointer(skb, at!(skb_dev)) };
        }
        Self::root(dropped.device as *const u8, config!(types.net_device))
    }

    #[inline(always)]
    unsafe fn load<T: Copy + Default>(base: *const u8, position: impl Position) -> T {
        // SAFETY: the verifier checks the access, and makes it fault-tolerant, because the pointer is not trusted.
        unsafe { position.load(base) }
    }

    #[inline(always)]
    unsafe fn chase<T: Copy + Default>(address: u64, position: impl Position) -> T {
        if config!(reads) == READ_CAST {
            let offset = position.offset();
            if offset == ABSENT {
                return T::default();
            }
            let field = address.wrapping_add(u64::from(offset)) as *const u8;
            // SAFETY: as in `load`.
            return unsafe { Bytes::<0>.load(rdonly_cast(field, config!(types.in6_addr))) };
        }
        if config!(may_probe) != 0 {
            // SAFETY: the helper fails on addresses that cannot be read.
            return unsafe { probe(address as *const u8, position) };
        }
        T::default()
    }
}

/// The helper for everything, for programs whose arguments are numbers (raw tracepoints).
pub(crate) struct Probe;

impl Memory for Probe {
    #[inline(always)]
    unsafe fn field<T: Copy + Default>(skb: *const u8, position: impl Position) -> T {
        // SAFETY: the helper fails on addresses that cannot be read.
        unsafe { probe(skb, position) }
    }

    #[inline(always)]
    fn root(pointer: *const u8, _: u32) -> *const u8 {
        pointer
    }

    #[inline(always)]
    fn takes_numbers() -> bool {
        true
    }

    #[inline(always)]
    unsafe fn device_of(_: *const u8, dropped: &DropFacts) -> *const u8 {
        dropped.device as *const u8
    }

    #[inline(always)]
    unsafe fn load<T: Copy + Default>(base: *const u8, position: impl Position) -> T {
        // SAFETY: as in `field`.
        unsafe { probe(base, position) }
    }

    #[inline(always)]
    unsafe fn chase<T: Copy + Default>(address: u64, position: impl Position) -> T {
        // SAFETY: as in `field`.
        unsafe { probe(address as *const u8, position) }
    }
}

/// The helper fills the result with zeros if it cannot read (`bpf_probe_read_kernel_common`,
/// `kernel/trace/bpf_trace.c`, from 6.17 on `include/linux/bpf.h`), so that its return value need not be checked: this
/// saves the verifier a branch at each read.
///
/// # Safety
/// `T` must be a plain number or pointer.
#[inline(always)]
unsafe fn probe<T: Copy + Default>(base: *const u8, position: impl Position) -> T {
    let offset = position.offset();
    if offset == ABSENT {
        return T::default();
    }
    let mut value = MaybeUninit::<T>::uninit();
    let field = base.wrapping_add(offset as usize);
    // SAFETY: there is room for `T`, and the helper has written it whatever its answer.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, field.cast());
        value.assume_init()
    }
}

/// The address `distance` bytes beyond one that was read from a field whose type is a pointer to numbers, such as
/// `skb->head`. The verifier of 6.17 and later adds to such a pointer, but of the sum of a number and such a pointer it
/// keeps the bounds of the number alone (`adjust_ptr_min_max_vals`, `kernel/bpf/verifier.c`), and drops branches that are
/// taken. So the pointer must stand on the left, which the compiler is not left to decide.
#[inline(always)]
pub(crate) fn beyond(address: u64, distance: u64) -> u64 {
    let mut sum = address;
    // SAFETY: an addition.
    unsafe { asm!("{} += {}", inout(reg) sum, in(reg) distance, options(pure, nomem, nostack, preserves_flags)) };
    sum
}

/// Returns the same pointer as a value that is unknown to the compiler: after a comparison the compiler could continue
/// with an equal number, and the verifier allows no reads through a number.
#[inline(always)]
pub(crate) fn same(pointer: *const u8) -> *const u8 {
    let mut same = pointer as u64;
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(reg) same, options(pure, nomem, nostack, preserves_flags)) };
    same as *const u8
}

/// How far `address` lies beyond `start`, both as in [`beyond`]. Of two pointers the verifier knows nothing; written as a
/// sum with more operands it could become a number and a pointer again.
#[inline(always)]
pub(crate) fn distance(address: u64, start: u64) -> u64 {
    let mut distance = address;
    // SAFETY: a subtraction.
    unsafe { asm!("{} -= {}", inout(reg) distance, in(reg) start, options(pure, nomem, nostack, preserves_flags)) };
    distance
}

/// The kernel function `bpf_rdonly_cast` (`kernel/bpf/helpers.c`): any number as an untrusted pointer to a structure.
/// The verifier makes a move between registers of it.
#[inline(always)]
pub(crate) fn rdonly_cast(pointer: *const u8, type_id: u32) -> *const u8 {
    type Cast = unsafe extern "C" fn(*const u8, u32) -> *const u8;
    // SAFETY: userspace replaces the call of this number before loading, by a move where there is no such function; the
    // function only changes what the verifier knows.
    unsafe { core::mem::transmute::<usize, Cast>(CALL_RDONLY_CAST as usize)(pointer, type_id) }
}
