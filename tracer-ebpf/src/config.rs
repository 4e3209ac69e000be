//! What userspace writes into the program before loading. Each read is of one field, so that the verifier, which knows
//! the contents of frozen read-only maps, sees a constant and drops the branches that it rules out.

use aya_ebpf::Global;
use tracer_common::Config;

#[unsafe(no_mangle)]
// SAFETY: all fields are numbers.
static CONFIG: Global<Config> = Global::new(unsafe { core::mem::zeroed() });

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
    // SAFETY: within the global; volatile, because the loader changes what the compiler believes to be constant.
    unsafe { core::ptr::read_volatile(config.wrapping_add(offset).cast()) }
}
