//! Programs that end with this process, even if this process is killed.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The name under which this program starts itself to become another program.
pub(super) const WAITING: &str = "droptrace-fleet-becomes-a-program";

/// Becomes the program of its arguments, if this program started this process for that. The kernel then terminates the
/// program when the thread that started it ends.
///
/// # Errors
/// Returns why the program cannot be run, and the exit status of shells for that.
pub fn become_program() -> Result<(), (String, u8)> {
    let mut words = env::args_os();
    if words.next().is_none_or(|name| name != WAITING) {
        return Ok(());
    }
    let (Some(parent), Some(program)) = (words.next(), words.next()) else { return Err(("no program".into(), 127)) };
    let asked = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid().is_none_or(|pid| parent != *pid.as_raw_nonzero().to_string()) {
        return Err(("the parent process ended".into(), 128 + 15));
    }
    asked.map_err(|error| (format!("cannot ask for a signal at the parent's end: {error}"), 126))?;
    let error = Command::new(&program).args(words).exec();
    Err((format!("cannot run {}: {error}", program.display()), 127))
}
