//! The constants that userspace writes into the program's instructions before loading: numbers of [`Config`] as
//! immediates, and offsets of kernel fields as offsets of loads. The verifier therefore sees constants and removes dead
//! branches, and nothing has to be read at run time.

use core::arch::asm;
use core::mem::offset_of;

use tracer_common::{ABSENT, CONSTANT, Config, FIELD, Offsets};

/// One number of [`Config`] on this kernel. All numbers but `kernel_space` are `u32`.
macro_rules! config {
    ($($field:tt)+) => {
        $crate::config::constant::<{ core::mem::offset_of!(tracer_common::Config, $($field)+) }>()
    };
}
pub(crate) use config;

/// A field of a kernel structure, by its name in [`Offsets`], or the word at this distance from it.
macro_rules! at {
    ($field:ident) => {
        $crate::config::at!($field, 0)
    };
    ($field:ident, $word:expr) => {
        $crate::config::Field::<{ core::mem::offset_of!(tracer_common::Config, offsets.$field) }, { $word }>
    };
}
pub(crate) use at;

/// The number at offset `AT` of [`Config`].
#[inline(always)]
pub(crate) fn constant<const AT: usize>() -> u32 {
    let value: u64;
    // SAFETY: a move. Userspace replaces the number, which has 32 bits, with the constant.
    unsafe {
        asm!("{} = {}", lateout(reg) value, const CONSTANT | AT as u32, options(nomem, nostack, preserves_flags));
        core::hint::assert_unchecked(value >> u32::BITS == 0);
    }
    value as u32
}

/// The least address of the kernel.
#[inline(always)]
pub(crate) fn kernel_space() -> u64 {
    const MARK: u64 = (CONSTANT as u64) << 32 | (CONSTANT as u64) | offset_of!(Config, kernel_space) as u64;
    let value: u64;
    // SAFETY: as in `constant`; the number has 64 bits.
    unsafe { asm!("{} = {} ll", lateout(reg) value, const MARK, options(nomem, nostack, preserves_flags)) };
    value
}

/// The position of a value in a structure.
pub(crate) trait Position: Copy {
    /// The offset; [`tracer_common::ABSENT`] if this kernel has no such field.
    fn offset(self) -> u32;

    /// Loads the value; 0 if this kernel has no such field.
    ///
    /// # Safety
    /// The verifier checks the access.
    unsafe fn load<T: Copy>(self, base: *const u8) -> T;
}

/// The field whose offset is at offset `AT` of [`Config`], or the word that is `WORD` words beyond.
#[derive(Clone, Copy)]
pub(crate) struct Field<const AT: usize, const WORD: usize>;

/// The bits of a number of `T`'s size.
///
/// # Safety
/// `T` must be a plain number or pointer, and `value` have no bits beyond it.
#[inline(always)]
unsafe fn narrow<T: Copy>(value: u64) -> T {
    const { assert!(matches!(size_of::<T>(), 1 | 2 | 4 | 8) && cfg!(target_endian = "little")) };
    // SAFETY: the caller's; the lower bytes come first.
    unsafe {
        core::hint::assert_unchecked(size_of::<T>() == size_of::<u64>() || value >> (size_of::<T>() * 8) == 0);
        core::mem::transmute_copy(&value)
    }
}

impl<const AT: usize, const WORD: usize> Position for Field<AT, WORD> {
    #[inline(always)]
    fn offset(self) -> u32 {
        let start = constant::<AT>();
        if WORD != 0 && start == ABSENT { ABSENT } else { start.wrapping_add((WORD * size_of::<u64>()) as u32) }
    }

    #[inline(always)]
    unsafe fn load<T: Copy>(self, base: *const u8) -> T {
        const { assert!(AT - offset_of!(Config, offsets) < size_of::<Offsets>() && WORD < 8) };
        macro_rules! load {
            ($instruction:literal) => {{
                let value: u64;
                // Userspace replaces the offset with the field's, or the load with 0.
                asm!(
                    $instruction,
                    value = lateout(reg) value,
                    base = in(reg) base,
                    field = const FIELD + ((AT - offset_of!(Config, offsets)) / size_of::<u32>() * 8 + WORD) as u16,
                    options(readonly, nostack, preserves_flags)
                );
                narrow(value)
            }};
        }
        // SAFETY: the caller's; each instruction fills the register with zeros beyond what it loads.
        unsafe {
            match size_of::<T>() {
                1 => load!("{value} = *(u8 *)({base} + {field})"),
                2 => load!("{value} = *(u16 *)({base} + {field})"),
                4 => load!("{value} = *(u32 *)({base} + {field})"),
                _ => load!("{value} = *(u64 *)({base} + {field})"),
            }
        }
    }
}

/// The value at this number of bytes from the start, on every kernel.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<const OFFSET: usize>;

impl<const OFFSET: usize> Position for Bytes<OFFSET> {
    #[inline(always)]
    fn offset(self) -> u32 {
        OFFSET as u32
    }

    #[inline(always)]
    unsafe fn load<T: Copy>(self, base: *const u8) -> T {
        // SAFETY: the caller's; volatile, so that the compiler does not change the load.
        unsafe { core::ptr::read_volatile(base.wrapping_add(OFFSET).cast()) }
    }
}
