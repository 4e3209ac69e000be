//! One guard for each CPU, across all probes.
//!
//! The kernel keeps a tracepoint program from running on top of itself only from 6.1 on, and never keeps one program from
//! running on top of another. An interrupt that drops a packet while a program runs would find half-written counts. So the
//! first program on a CPU marks the CPU as busy, and one that comes in between counts itself as nested and ends.

use core::arch::asm;
use core::ptr::{read_volatile, write_volatile};

use tracer_common::{Counts, CpuState, DropFacts};

use crate::maps::{COUNTS, CPU_STATE, GENERATION};

/// What a program works on while it holds the guard. All of it is this CPU's own.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) state: *mut CpuState,
    pub(crate) counts: *mut Counts,
}

impl Held {
    /// The generation that `counts` belongs to.
    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        // SAFETY: the element is this CPU's own. Read again each time: to keep it in a register costs more.
        unsafe { read_volatile(&raw const (*self.state).generation) & 1 }
    }

    /// The drop at hand.
    #[inline(always)]
    pub(crate) fn dropped<'a>(self) -> &'a DropFacts {
        // SAFETY: the element is this CPU's own.
        unsafe { &(*self.state).dropped }
    }
}

/// Runs `body` unless another program runs on this CPU already.
#[inline(always)]
pub(crate) fn exclusively(body: impl FnOnce(&Held)) {
    let Some(state) = CPU_STATE.get_ptr_mut(0) else { return };
    // SAFETY: the element is this CPU's own.
    unsafe {
        let busy = &raw mut (*state).busy;
        if read_volatile(busy) != 0 {
            // Atomic, because an interrupt of higher rank may come in between.
            add_atomically(&raw mut (*state).nested);
            return;
        }
        // Interrupts nest: one that comes between the two lines has cleared the mark by the time that it returns.
        write_volatile(busy, 1);
        barrier();
        let generation = GENERATION.read() & 1;
        if let Some(counts) = COUNTS.get_ptr_mut(generation) {
            (*state).generation = generation;
            body(&Held { state, counts });
        }
        barrier();
        write_volatile(busy, 0);
    }
}

/// Adds 1. The library's atomics are not available for this machine.
///
/// # Safety
/// `counter` must be valid.
#[inline(always)]
unsafe fn add_atomically(counter: *mut u64) {
    // SAFETY: the caller's.
    unsafe { asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1_u64) };
}

/// Keeps the compiler from moving loads and stores across. The processor needs no more: only this CPU looks.
#[inline(always)]
pub(crate) fn barrier() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}
