//! An allocator that counts what each thread allocates.

#![expect(unsafe_code, reason = "counting allocations takes an allocator of its own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, live: 0, peak: 0 }) };
}

/// What was allocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Calls of the allocator.
    pub(crate) allocations: usize,
    /// Bytes left.
    pub(crate) live: isize,
    /// Bytes at most, with old and new both there while a block is moved.
    pub(crate) peak: isize,
}

fn count(allocations: usize, bytes: isize) {
    let mut counts = COUNTS.get();
    counts.allocations += allocations;
    counts.live += bytes;
    counts.peak = counts.peak.max(counts.live);
    COUNTS.set(counts);
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; counting allocates nothing. `realloc` is the
// trait's own: allocate, copy, free.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What this thread allocates while `run` does.
pub(crate) fn measured<T>(run: impl FnOnce() -> T) -> (T, Counts) {
    let before = COUNTS.get();
    COUNTS.set(Counts { peak: before.live, ..before });
    let result = run();
    let after = COUNTS.get();
    let counts = Counts {
        allocations: after.allocations - before.allocations,
        live: after.live - before.live,
        peak: after.peak - before.live,
    };
    (result, counts)
}

#[test]
fn allocations_are_counted() {
    let (kept, counts) = measured(|| {
        drop(vec![0_u8; 300]);
        vec![0_u8; 100]
    });
    assert_eq!((counts.allocations, counts.live, counts.peak, kept.len()), (2, 100, 300, 100));
}
