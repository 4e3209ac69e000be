//! Assigns processors: the generator has processors of its own, if there are enough.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that this process may use.
pub(super) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("cannot read which CPUs may be used")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Pins the calling thread, and all that it starts, to these processors.
pub(super) fn stay_on(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on the processors {cpus:?}"))
}

/// The processors that a generator on the first `count` of them leaves to the tracers; all processors if it leaves
/// none.
pub(super) fn left_by(generator: usize, all: &[usize]) -> &[usize] {
    if generator < all.len() { &all[generator..] } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracers_get_the_processors_that_the_generator_leaves() {
        assert_eq!(left_by(1, &[2, 3, 5]), [3, 5]);
        assert_eq!(left_by(1, &[0]), [0]);
        assert_eq!(left_by(2, &[0, 1]), [0, 1]);
    }
}
