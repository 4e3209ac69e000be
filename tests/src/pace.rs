//! Measures how fast this machine is, so that time limits grow with its slowness.
//!
//! A time limit has one purpose: a hang must end. A limit in seconds alone also ends a slow test, and in an emulated
//! machine every test is slow. `xtask` includes this file too, so it uses nothing but the standard library.

use std::hash::{DefaultHasher, Hasher};
use std::hint::black_box;
use std::io::{Read, Write, pipe};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rounds of the measured work. Each hashes a block of bytes and sends one byte through a pipe.
const ROUNDS: u32 = 4000;
/// The time of all rounds on the reference machine while nothing else runs there: an x86-64 server's core of 2023, in
/// an unoptimised build. Limits in the tests are for this machine.
const REFERENCE: Duration = Duration::from_millis(20);

/// The largest slowness measured so far; zero while there is none.
static SLOWNESS: Mutex<f64> = Mutex::new(0.0);

/// How many times longer this machine takes than the reference machine; 1 at least. Measured once.
pub fn slowness() -> f64 {
    let known = *SLOWNESS.lock().unwrap_or_else(PoisonError::into_inner);
    if known > 0.0 { known } else { measure_again() }
}

/// A time limit for the reference machine, made longer where this machine is slower.
pub fn scaled(limit: Duration) -> Duration {
    limit.mul_f64(slowness())
}

/// Measures once more, because the load on a machine changes; the largest slowness so far.
fn measure_again() -> f64 {
    let slowness = (took().as_secs_f64() / REFERENCE.as_secs_f64()).max(1.0);
    let mut known = SLOWNESS.lock().unwrap_or_else(PoisonError::into_inner);
    *known = known.max(slowness);
    *known
}

/// Time that the rounds take now. A machine without a pipe counts as the reference machine.
fn took() -> Duration {
    let Ok((mut reader, mut writer)) = pipe() else { return REFERENCE };
    let started = Instant::now();
    for round in 0..ROUNDS {
        let mut hasher = DefaultHasher::new();
        hasher.write(&[round.to_le_bytes()[0]; 512]);
        let byte = [hasher.finish().to_le_bytes()[0]];
        let sent = writer.write_all(&byte).and_then(|()| reader.read_exact(&mut [0]));
        if black_box(sent).is_err() {
            return REFERENCE;
        }
    }
    started.elapsed()
}

/// The end of the time that a wait may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    started: Instant,
    limit: Duration,
}

impl Deadline {
    /// Starts now, with a time that is given for the reference machine.
    pub fn after(limit: Duration) -> Self {
        Self { started: Instant::now(), limit }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time that is left; zero once the deadline has passed.
    pub fn left(&self) -> Duration {
        scaled(self.limit).saturating_sub(self.elapsed())
    }

    /// Whether the time is up. Before saying so, it measures the machine again.
    pub fn has_passed(&self) -> bool {
        let is_up = |slowness: f64| self.elapsed() > self.limit.mul_f64(slowness);
        is_up(slowness()) && is_up(measure_again())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_never_shrink() {
        assert!(slowness() >= 1.0);
        assert!(scaled(Duration::from_secs(1)) >= Duration::from_secs(1));
        assert!(measure_again() >= 1.0);
    }

    #[test]
    fn a_deadline_passes() {
        let deadline = Deadline::after(Duration::from_nanos(1));
        std::thread::sleep(Duration::from_millis(1));
        assert!(deadline.has_passed() && deadline.left() == Duration::ZERO);
        let deadline = Deadline::after(Duration::from_hours(1));
        assert!(!deadline.has_passed() && deadline.left() > Duration::from_mins(50));
    }
}
