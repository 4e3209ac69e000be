//! droptrace against real kernels.
//!
//! The heart is the table in `tests/drops`: each case provokes one kind of drop a known number of times, in network
//! namespaces of its own, and compares with what `droptrace` counted and with what the kernel itself counted. To add
//! one, copy a case.

pub mod agent;
pub mod bpf;
pub mod busy;
pub mod case;
pub mod cgroup;
pub mod collector;
pub mod container;
pub mod droptrace;
pub mod engine;
pub mod fleet;
pub mod folder;
pub mod frame;
pub mod kernel;
pub mod machine;
pub mod monitor;
pub mod netdevsim;
pub mod netns;
pub mod openssh;
pub mod owned;
pub mod pace;
pub mod packet;
pub mod prometheus;
pub mod pty;
pub mod recorder;
pub mod simulation;
pub mod soak;
pub mod storm;
pub mod sys;
pub mod tcp;
pub mod trace;
pub mod trials;
pub mod tun;
pub mod wire;
pub mod witness;

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::pace::Deadline;

/// How long anything may take on the reference machine of [`pace`] that needs no waiting at all; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// [`PATIENCE`] for this machine.
pub fn patience() -> Duration {
    pace::scaled(PATIENCE)
}

/// Sleeps for a time that is given for the reference machine of [`pace`]. Only for work that shows no event to wait for.
pub fn pause(time: Duration) {
    thread::sleep(pace::scaled(time));
}

/// The least size of a ring buffer in bytes, as an argument: a page, of which arm64 has three sizes.
pub fn a_page() -> String {
    rustix::param::page_size().to_string()
}

/// The processors that this process may use.
pub fn cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// Runs `work` on a thread that stays on one processor: what it sends is received there too.
pub fn on_one_cpu<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_cpu(sched_getcpu(), work)
}

/// As [`on_one_cpu`], on this processor.
pub fn on_cpu<T: Send>(cpu: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pinned = || {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set)?;
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join().map_err(|_| anyhow!("the pinned thread panicked"))?)
}

/// Waits until `condition` holds.
///
/// # Errors
/// When it does not within [`PATIENCE`] as scaled by [`pace`], naming `what`.
pub fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Deadline::after(PATIENCE);
    while !condition()? {
        if deadline.has_passed() {
            bail!("still waiting for {what} after {:?}", deadline.elapsed());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
