//! Runs one program within bounds: of time, of bytes, and until this process is to end.

use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// The interval at which a wait looks at the end of this process, in nanoseconds.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// The interval of looks at a program that has closed its output.
const NAP: Duration = Duration::from_millis(5);
/// The time that a program has to end when it is terminated, before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// The last bytes on stderr that are kept.
const KEPT: usize = 4096;

/// What a program may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The time from its start.
    pub time: Duration,
    /// Bytes on stdout and stderr together.
    pub bytes: u64,
}

/// How the run of a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The program ended by itself.
    Exited(ExitStatus),
    /// The program was terminated: its time was over.
    Late,
    /// The program was terminated: it wrote too much.
    Flood,
    /// The program was terminated because this process is to end.
    Stopped,
}

/// The error of running a program.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program cannot be started.
    #[error("cannot start the program")]
    Start(#[source] io::Error),
    /// The output of the program cannot be read, or not be written.
    #[error("cannot keep the output of the program")]
    Output(#[source] io::Error),
}

/// Runs a program without input, and writes its stdout to `output`. Returns the end, and the last text on its stderr.
///
/// # Errors
/// Fails if the program cannot be started, or with the error of `output`. The program does not go on then.
pub(super) fn run(
    command: &mut Command,
    output: &mut impl Write,
    bounds: Bounds,
    stop: &AtomicBool,
) -> Result<(End, String), RunError> {
    let mut running = Running::start(command, bounds.bytes).map_err(RunError::Start)?;
    let end = running.follow(output, bounds.time, stop).map_err(RunError::Output)?;
    Ok((end, String::from_utf8_lossy(&running.said).into_owned()))
}

/// A program in a process group of its own, killed with this value.
struct Running {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// The last bytes on stderr.
    said: Vec<u8>,
    /// Bytes that may still come.
    left: u64,
}

impl Running {
    fn start(command: &mut Command, bytes: u64) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Self { child, stdout, stderr, said: Vec::new(), left: bytes })
    }

    /// Passes the output on until the program ends, or is terminated.
    fn follow(&mut self, output: &mut impl Write, time: Duration, stop: &AtomicBool) -> io::Result<End> {
        let deadline = Instant::now().checked_add(time);
        let end = loop {
            // The program is looked at before its output is, so that no output is missed.
            let exited = self.child.try_wait()?;
            let has_read = self.read(output, if exited.is_some() { AT_ONCE } else { LOOK })?;
            match exited {
                Some(_) if self.left == 0 => return Ok(End::Flood),
                Some(status) if !has_read => return Ok(End::Exited(status)),
                None if self.left == 0 => break End::Flood,
                None if stop.load(Ordering::Relaxed) => break End::Stopped,
                None if deadline.is_some_and(|deadline| Instant::now() >= deadline) => break End::Late,
                Some(_) | None => {}
            }
        };
        self.terminate()?;
        Ok(end)
    }

    /// Waits for output, and passes it on. Returns whether there was any.
    fn read(&mut self, output: &mut impl Write, patience: Timespec) -> io::Result<bool> {
        let pipes = [self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)];
        if pipes.iter().all(Option::is_none) {
            thread::sleep(if patience == AT_ONCE { Duration::ZERO } else { NAP });
            return Ok(false);
        }
        let [of_stdout, of_stderr] = ready(pipes, patience)?;
        let mut buffer = [0; 16 * 1024];
        let mut read = 0;
        if let Some(stdout) = self.stdout.as_mut().filter(|_| of_stdout) {
            let length = stdout.read(&mut buffer)?;
            output.write_all(&buffer[..length])?;
            read += length;
            if length == 0 {
                self.stdout = None;
            }
        }
        if let Some(stderr) = self.stderr.as_mut().filter(|_| of_stderr) {
            let length = stderr.read(&mut buffer)?;
            self.said.extend(&buffer[..length]);
            self.said.drain(..self.said.len().saturating_sub(KEPT));
            read += length;
            if length == 0 {
                self.stderr = None;
            }
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read > 0)
    }

    /// Terminates the program and all that it started in its group; kills them if they do not end.
    fn terminate(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while !self.has_ended()? && Instant::now() < deadline {
            thread::sleep(NAP);
        }
        self.signal(Signal::KILL);
        self.child.wait().map(drop)
    }

    /// Whether the program has ended. It is not waited for, so that its group keeps its number.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(Pid::from_child(&self.child)), options)?.is_some())
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(Pid::from_child(&self.child), signal) {
            tracing::debug!("a program did not receive {signal:?}: {error}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A program that was waited for has no group to signal any more.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
            _ = self.child.wait();
        }
    }
}

/// Waits until one of the pipes has output or is closed. Returns which ones.
fn ready(pipes: [Option<BorrowedFd<'_>>; 2], patience: Timespec) -> io::Result<[bool; 2]> {
    let mut asked: Vec<_> = pipes.iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
    match poll(&mut asked, Some(&patience)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok([false; 2]),
        Err(error) => return Err(error.into()),
    }
    let mut events = asked.iter().map(|asked| !asked.revents().is_empty());
    Ok(pipes.map(|pipe| pipe.is_some() && events.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { time: Duration::from_mins(1), bytes: 1 << 20 };

    fn shell(script: &str, bounds: Bounds, stop: bool) -> (End, String, String) {
        let mut output = Vec::new();
        let mut command = Command::new("sh");
        let (end, said) = run(command.args(["-c", script]), &mut output, bounds, &AtomicBool::new(stop)).unwrap();
        (end, String::from_utf8(output).unwrap(), said)
    }

    #[test]
    fn output_and_status_are_those_of_the_program() {
        let (end, output, said) = shell("echo one; echo two >&2; exec 2>&-; echo three; exit 5", BOUNDS, false);
        let End::Exited(status) = end else { panic!("{end:?}") };
        assert_eq!((status.code(), &*output, &*said), (Some(5), "one\nthree\n", "two\n"));
    }

    #[test]
    fn a_program_that_leaves_its_pipes_to_another_one_is_over() {
        let (end, output, _) = shell("sleep 1000 & echo $!", BOUNDS, false);
        assert!(matches!(end, End::Exited(status) if status.success()), "{end:?}");
        let pid = Pid::from_raw(output.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn bounds_end_a_program_and_what_it_started() {
        let short = Bounds { time: Duration::from_millis(50), ..BOUNDS };
        assert_eq!(shell("sleep 1000 | sleep 1000", short, false).0, End::Late);
        assert_eq!(shell("trap '' TERM; sleep 1000", BOUNDS, true).0, End::Stopped);
        let small = Bounds { bytes: 100_000, ..BOUNDS };
        let (end, output, _) = shell("yes", small, false);
        assert!(end == End::Flood && output.len() < 150_000, "{end:?} after {}", output.len());
        let (end, output, said) = shell("yes >&2", small, false);
        assert!(end == End::Flood && output.is_empty() && said.len() == KEPT, "{end:?}, {} kept", said.len());
    }

    #[test]
    fn full_disk_and_missing_program_are_errors() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new("yes");
        let error = run(&mut command, &mut full, BOUNDS, &AtomicBool::new(false)).unwrap_err();
        assert!(matches!(error, RunError::Output(error) if error.kind() == io::ErrorKind::StorageFull));
        let error = run(&mut Command::new("/nowhere"), &mut Vec::new(), BOUNDS, &AtomicBool::new(false)).unwrap_err();
        assert!(matches!(error, RunError::Start(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
