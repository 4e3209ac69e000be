//! The code of the filter, which userspace writes into the program before loading.

use core::arch::asm;

use tracer_common::CpuState;

/// Whether the filter selects the current drop: not 0 if it does. Userspace replaces the body, which is opaque to the
/// compiler. The symbol is [`tracer_common::PACKET_FILTER`].
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn packet_filter(state: *const CpuState) -> u64 {
    let selected: u64;
    // SAFETY: a move; the number selects every drop.
    unsafe {
        asm!(
            "{selected} = 1",
            "/* {state} */",
            selected = lateout(reg) selected,
            state = in(reg) state,
            options(nostack, preserves_flags)
        );
    }
    selected
}
