//! Signals that end a collection.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use droptrace_base::render::output::end_flag;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals that ask this process to end: they set a flag until [`Stop::over`], and then end the process as usual.
#[derive(Debug)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

impl Stop {
    /// Catches the signals from now on. A signal that the parent process ignores, as `nohup` does, is left so.
    ///
    /// # Errors
    /// Fails with the system's error.
    pub fn catch() -> io::Result<Self> {
        let stop = Self { flag: end_flag(), is_over: Arc::default() };
        let ignored = ignored();
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
            flag::register_conditional_default(signal, Arc::clone(&stop.is_over))?;
            flag::register(signal, Arc::clone(&stop.flag))?;
        }
        Ok(stop)
    }

    /// The flag that the signals set.
    pub fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    /// Returns whether this process is to end. If not, signals have their usual effect from now on.
    pub fn over(&self) -> bool {
        self.is_over.store(true, Ordering::Relaxed);
        self.flag.load(Ordering::Relaxed)
    }
}

/// The signals that this process ignores, as bits: signal 1 is the lowest (`SigIgn`, `proc_pid_status(5)`).
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
