//! What the threads of a run share: its end, the moments between bursts of drops, and the number of drops.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The longest time that a waiting thread takes to see the end.
const SLICE: Duration = Duration::from_millis(50);

/// Lets bursts of drops through, and counts their drops.
#[derive(Debug)]
pub struct Gate {
    /// The end of the run; a signal may set it.
    is_over: Arc<AtomicBool>,
    /// Held by bursts to read, and by who looks at the counts between them to write.
    bursts: RwLock<()>,
    dropped: AtomicU64,
}

impl Gate {
    /// Without any drops.
    pub fn new(is_over: Arc<AtomicBool>) -> Self {
        Self { is_over, bursts: RwLock::default(), dropped: AtomicU64::new(0) }
    }

    /// Whether the run is over.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Ends the run.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits for a time, or for the end of the run. Returns whether the run goes on.
    pub fn wait(&self, time: Duration) -> bool {
        self.wait_until(Instant::now() + time)
    }

    /// As [`Gate::wait`], for a point in time.
    pub fn wait_until(&self, until: Instant) -> bool {
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(SLICE));
        }
        false
    }

    /// Provokes drops; `work` returns their number by the kernel's own counters.
    pub fn burst(&self, work: impl FnOnce() -> Result<u64>) -> Result<()> {
        let _held = self.bursts.read().unwrap_or_else(PoisonError::into_inner);
        self.dropped.fetch_add(work()?, Ordering::Relaxed);
        Ok(())
    }

    /// Calls `look` with the number of all drops while no burst is under way.
    pub fn between_bursts<T>(&self, look: impl FnOnce(u64) -> Result<T>) -> Result<T> {
        let _held = self.bursts.write().unwrap_or_else(PoisonError::into_inner);
        look(self.dropped.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_bursts_are_added_up() {
        let gate = Gate::new(Arc::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| gate.burst(|| Ok(3)).unwrap()));
            }
        });
        assert_eq!(gate.between_bursts(Ok).unwrap(), 1200);
    }

    #[test]
    fn the_end_ends_waits() {
        let gate = Gate::new(Arc::default());
        assert!(gate.wait(Duration::from_nanos(1)));
        gate.end();
        assert!(gate.is_over() && !gate.wait(Duration::from_hours(1)));
    }
}
