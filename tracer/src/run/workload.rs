//! A command whose run is counted, as `perf stat -- CMD` does.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::ExitStatus;
use std::sync::OnceLock;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpgrp, getpid, getppid, getrlimit, kill_process,
    set_parent_process_death_signal, setrlimit, waitid,
};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};

use crate::outside::say;

/// The limit of open files with which droptrace was started.
static OPEN_FILES: OnceLock<Rlimit> = OnceLock::new();

/// Allows as many open files as the hard limit does: an agent has one for each connection.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    _ = OPEN_FILES.set(limit);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!("the limit of open files stays {:?}: {error}", limit.current);
    }
}

/// The name under which droptrace starts itself to become the command later.
const WAITING: &str = "droptrace-waits-to-become-a-command";

/// The exit status of shells for a process that a signal ended, less the signal's number.
const SIGNALLED: u8 = 128;

/// Becomes the command of its arguments when it is continued, if droptrace started this process for that.
///
/// # Errors
/// Returns the exit status for a command that cannot be run.
pub fn become_workload() -> Result<(), u8> {
    let mut words = env::args_os();
    if words.next().is_none_or(|name| name != WAITING) {
        return Ok(());
    }
    let (Some(parent), Some(program)) = (words.next(), words.next()) else { return Err(127) };
    // droptrace may be killed before it continues this process, which must not wait for ever then.
    let dies_with_droptrace = |signal| _ = set_parent_process_death_signal(signal);
    dies_with_droptrace(Some(Signal::KILL));
    if getppid().is_none_or(|pid| parent != *pid.as_raw_nonzero().to_string()) {
        // It was killed already.
        return Err(SIGNALLED + 9);
    }
    // A process that cannot stop runs at once: a little of the command may then go uncounted.
    _ = kill_process(getpid(), Signal::STOP);
    dies_with_droptrace(None);
    let error = std::process::Command::new(&program).args(words).exec();
    say("droptrace", format_args!("cannot run {}: {error}", program.display()));
    Err(exit_code_of(&error))
}

/// A command. It has droptrace's terminal, standard streams and environment, and the capabilities that droptrace was started
/// with. droptrace gives up most of its own before it captures, so that the process is there before, and waits.
pub struct Workload {
    child: Child,
    status: Option<io::Result<ExitStatus>>,
}

impl Workload {
    /// Prepares a command with its arguments, with the limit of open files that droptrace itself was started with. The process
    /// is stopped until [`start`](Self::start), and killed with this value.
    ///
    /// # Errors
    /// Returns why the system cannot run the command.
    pub fn prepare(words: &[OsString]) -> io::Result<Self> {
        let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
        find(program)?;
        let raised = getrlimit(Resource::Nofile);
        if let Some(limit) = OPEN_FILES.get() {
            setrlimit(Resource::Nofile, *limit)?;
        }
        let parent = getpid().as_raw_nonzero().to_string();
        let child = Command::new("/proc/self/exe").arg0(WAITING).arg(parent).args(words).kill_on_drop(true).spawn();
        setrlimit(Resource::Nofile, raised)?;
        let workload = Self { child: child?, status: None };
        if let Some(pid) = workload.pid() {
            // An exit is left to `wait`.
            waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        }
        Ok(workload)
    }

    /// Lets the command run.
    pub fn start(&self) {
        self.send(Signal::CONT);
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }

    fn send(&self, signal: Signal) {
        if let Some(Err(error)) = self.pid().map(|pid| kill_process(pid, signal)) {
            tracing::debug!("the command did not receive {signal:?}: {error}");
        }
    }

    /// Waits for the end of the command. The future may be dropped at any time.
    pub async fn wait(&mut self) {
        if self.status.is_none() {
            self.status = Some(self.child.wait().await);
        }
    }

    /// Passes a signal on to the command, if it still runs.
    pub fn pass(&self, signal: Signal) {
        if signal == Signal::INT && is_in_foreground() {
            // Ctrl-C: the terminal sends the signal to the command itself.
            return;
        }
        self.send(signal);
    }

    /// The exit status for a shell: that of the command, or 128 and the number of the signal that ended it.
    ///
    /// # Errors
    /// Returns the system's answer if the command's end could not be awaited.
    pub fn exit_code(self) -> io::Result<u8> {
        let status = self.status.unwrap_or_else(|| Err(io::Error::other("the command still runs")))?;
        let code = status.code().or_else(|| status.signal().map(|signal| i32::from(SIGNALLED) + signal));
        Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }
}

/// Finds the command as shells do: a path, or a name in the folders of `PATH`.
fn find(program: &OsStr) -> io::Result<()> {
    if program.as_encoded_bytes().contains(&b'/') {
        return Ok(access(program, Access::EXEC_OK)?);
    }
    let folders = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let found = env::split_paths(&folders).map(|folder| access(folder.join(program), Access::EXEC_OK));
    // One that may not be executed counts only if there is no other one.
    let results: Vec<_> = found.collect();
    let is_there = results.iter().any(Result::is_ok);
    let is_forbidden = results.contains(&Err(Errno::ACCESS));
    if is_there { Ok(()) } else { Err(if is_forbidden { Errno::ACCESS } else { Errno::NOENT }.into()) }
}

/// The exit status of shells for a command that cannot be run.
pub fn exit_code_of(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Whether the terminal sends its signals to this process, and so to the command.
fn is_in_foreground() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_shells_find_them() {
        let status = |name: &str| find(OsStr::new(name)).err().map(|error| exit_code_of(&error));
        assert_eq!([status("sh"), status("/bin/sh")], [None; 2]);
        assert_eq!([status("/nonexistent/command"), status("no-such-command-here")], [Some(127); 2]);
        assert_eq!(status("/etc/passwd"), Some(126));
    }
}
