//! One guard for each CPU, across all probes.
//!
//! The kernel keeps a tracepoint program from interrupting itself only from 6.1 on, and never keeps one program from
//! interrupting another. An interrupt that drops a packet while a program runs would find half-written counts. Each
//! program therefore marks itself as running, and a program that interrupts it counts itself as nested and ends.

use core::arch::asm;
use core::ptr::{read_volatile, write_volatile};

use tracer_common::{Counts, CpuState, DropFacts, MOST_HOLDERS};

use crate::log;
use crate::maps::{COUNTS, CPU_STATE, GENERATION};

/// The programs that hold the guard, each with a mark of its own in [`tracer_common::CpuState::busy`].
#[derive(Clone, Copy)]
pub(crate) enum Holder {
    KfreeSkb,
    XdpException,
    XdpRedirectErr,
    DevlinkTrapReport,
    UdpFailQueueRcvSkb,
}

/// The number of [`Holder`]s.
const HOLDERS: usize = Holder::UdpFailQueueRcvSkb as usize + 1;

const _: () = assert!(HOLDERS <= MOST_HOLDERS);

/// The state that a program uses while it holds the guard. All of it belongs to this CPU.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) state: *mut CpuState,
    pub(crate) counts: *mut Counts,
}

impl Held {
    /// The generation that `counts` belongs to.
    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        // SAFETY: the element is this CPU's own. It is read again each time, because keeping it in a register costs
        // more.
        unsafe { read_volatile(&raw const (*self.state).generation) & 1 }
    }

    /// The same state with the counts of a generation that userspace does not read yet.
    #[inline(always)]
    pub(crate) fn in_generation(self, generation: u32) -> Option<Self> {
        let counts = COUNTS.get_ptr_mut(generation)?;
        // SAFETY: the element is this CPU's own. The next program sets the generation anew.
        unsafe { (*self.state).generation = generation };
        Some(Self { counts, ..self })
    }

    /// The current drop.
    #[inline(always)]
    pub(crate) fn dropped<'a>(self) -> &'a DropFacts {
        // SAFETY: the element is this CPU's own.
        unsafe { &(*self.state).dropped }
    }
}

/// The guard of this CPU, held until it goes out of scope.
pub(crate) struct Guard {
    pub(crate) held: Held,
    holder: Holder,
}

impl Drop for Guard {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the element is this CPU's own.
        unsafe { release(self.held.state, self.holder) };
    }
}

/// Takes the guard for `holder`, which sees a drop, unless another program runs on this CPU already: then the drop is
/// counted as nested.
#[inline(always)]
pub(crate) fn take(holder: Holder) -> Option<Guard> {
    let state = CPU_STATE.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's own.
    unsafe {
        if mark(state, holder) {
            return guarded(state, holder);
        }
        add_atomically(&raw mut (*state).nested, 1);
    }
    if log::is_on() {
        log::nested();
    }
    None
}

/// Does the same as [`take`], for a program that sees no drop of its own.
#[inline(always)]
pub(crate) fn take_if_free(holder: Holder) -> Option<Guard> {
    let state = CPU_STATE.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's own.
    unsafe { if mark(state, holder) { guarded(state, holder) } else { None } }
}

/// Marks `holder` as running unless another program runs on this CPU already; returns false then.
///
/// An interrupt ends before the interrupted program goes on, so that a check and a mark would suffice. From Linux 7.0
/// on another task may interrupt as well, and be interrupted itself. Each program therefore marks itself first and then
/// checks the marks of the others: of two that do so at once at least one sees the other, because both run on one CPU,
/// whose memory has one order. The kernel itself then keeps a program from running twice (`prog->active`). Atomic
/// instructions would suffice as well, and would cost more than everything else here.
///
/// # Safety
/// `state` must be this CPU's own.
#[inline(always)]
unsafe fn mark(state: *mut CpuState, holder: Holder) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let marks = &raw mut (*state).busy;
        let mine = &raw mut (*marks)[holder as usize];
        if read_volatile(mine) != 0 {
            return false;
        }
        write_volatile(mine, 1);
        barrier();
        let others = (0..HOLDERS).filter(|other| *other != holder as usize);
        if others.fold(0, |busy, other| busy | read_volatile(&raw const (*marks)[other])) != 0 {
            write_volatile(mine, 0);
            return false;
        }
    }
    true
}

/// The guard of a program that is marked, with the counts of the current generation.
///
/// # Safety
/// As [`mark`].
#[inline(always)]
unsafe fn guarded(state: *mut CpuState, holder: Holder) -> Option<Guard> {
    let generation = GENERATION.read() & 1;
    // SAFETY: the caller's.
    unsafe {
        let Some(counts) = COUNTS.get_ptr_mut(generation) else {
            release(state, holder);
            return None;
        };
        if log::is_on() && (*state).generation != generation {
            log::generation(generation);
        }
        (*state).generation = generation;
        Some(Guard { held: Held { state, counts }, holder })
    }
}

/// Takes the mark of `holder` away.
///
/// # Safety
/// As [`mark`].
#[inline(always)]
unsafe fn release(state: *mut CpuState, holder: Holder) {
    barrier();
    // SAFETY: the caller's.
    unsafe { write_volatile(&raw mut (*state).busy[holder as usize], 0) };
}

/// Returns whether a program holds the guard of this CPU.
///
/// # Safety
/// `state` must be this CPU's own.
#[inline(always)]
pub(crate) unsafe fn is_held(state: *mut CpuState) -> bool {
    // SAFETY: the caller's.
    unsafe { (0..HOLDERS).fold(0, |busy, one| busy | read_volatile(&raw const (*state).busy[one])) != 0 }
}

/// Adds `more`, atomically, because an interrupt of higher priority may arrive in between. The library's atomics are not
/// available for this machine.
///
/// # Safety
/// `counter` must be valid.
#[inline(always)]
pub(crate) unsafe fn add_atomically(counter: *mut u64, more: u64) {
    // SAFETY: the caller's.
    unsafe { asm!("lock *(u64 *)({counter} + 0) += {more}", counter = in(reg) counter, more = in(reg) more) };
}

/// Keeps the compiler from moving loads and stores across. The processor needs no barrier: only this CPU reads the
/// marks.
#[inline(always)]
pub(crate) fn barrier() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}
