//! The end of a run.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use signal_hook::flag;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::Instant;

use super::workload::Workload;
use crate::render::output::{Output, end_flag};

/// Events that end a run: Ctrl-C, a request to terminate, a terminal that is closed, or the end of its duration.
pub struct Stop {
    interrupt: Signals,
    terminate: Signals,
    /// SIGHUP; absent where the caller handles it, or the parent process ignores it (`nohup`).
    hangup: Option<Signals>,
    /// The output, if it has a reader that may go away: a pipe, a socket, a terminal.
    output: Option<AsyncFd<OwnedFd>>,
    deadline: Option<Instant>,
    duration: Option<Duration>,
    /// The command with which the run ends.
    workload: Option<Workload>,
}

impl Stop {
    /// Catches the signals from now on; the duration starts with [`Stop::start_clock`].
    pub fn new(duration: Option<Duration>) -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let hangup = if is_ignored(SignalKind::hangup()) { None } else { Some(SignalKind::hangup()) };
        for kind in [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup) {
            flag::register(kind.as_raw_value(), end_flag()).context("cannot catch signals")?;
        }
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: hangup.map(catch).transpose()?,
            output: None,
            deadline: None,
            duration,
            workload: None,
        })
    }

    /// Ends the run also when `output` has lost its reader, even while there is no output to write.
    #[must_use]
    pub fn while_read(self, output: &Output) -> Self {
        // The kernel has no events of a file, nor of /dev/null, which have no reader that could go away.
        Self { output: output.handle().and_then(|output| watched(output, ASKED)).ok(), ..self }
    }

    /// Leaves SIGHUP to the caller.
    #[must_use]
    pub fn without_hangup(self) -> Self {
        Self { hangup: None, ..self }
    }

    /// Ends the run with a command instead. Signals are passed on to the command, and the end of the duration terminates it.
    pub fn with_workload(&mut self, workload: Workload) {
        self.workload = Some(workload);
    }

    /// Waits for the end of the command, if the run has one, and returns the command.
    pub async fn finished(&mut self) -> Option<Workload> {
        self.wait_for_workload().await;
        self.workload.take()
    }

    async fn wait_for_workload(&mut self) {
        while let Some(workload) = &mut self.workload {
            let signal = tokio::select! {
                biased;
                () = workload.wait() => return,
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.terminate.recv() => Signal::TERM,
                () = hung_up(&mut self.hangup) => Signal::HUP,
                () = elapsed(self.deadline) => Signal::TERM,
            };
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.deadline = None;
            }
            workload.pass(signal);
        }
    }

    /// Starts the duration of the run.
    pub fn start_clock(&mut self) {
        // A time beyond the clock's range is no end at all.
        self.deadline = self.duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Waits for the end.
    pub async fn wait(&mut self) {
        if self.workload.is_some() {
            return self.wait_for_workload().await;
        }
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(&mut self.hangup) => {}
            () = unread(self.output.as_ref()) => {}
            () = elapsed(self.deadline) => {}
        }
    }
}

async fn hung_up(hangup: &mut Option<Signals>) {
    match hangup {
        Some(signal) => _ = signal.recv().await,
        None => pending().await,
    }
}

async fn elapsed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Events to wait for. For a pipe without a reader the kernel reports an error, for a socket or a terminal a hang-up,
/// whatever the program asks for. A socket may also report that it can be read.
const ASKED: Interest = Interest::READABLE.add(Interest::ERROR);

/// Interval of the checks of a reader that only reads.
const LOOK: Duration = Duration::from_millis(500);

/// Lets the runtime report these events of a descriptor.
pub(crate) fn watched(descriptor: OwnedFd, asked: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(unsafe_code, reason = "the caller must keep the descriptor open")]
    // SAFETY: the descriptor is owned, and lives as long as the value that it is passed to.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, asked) };
    Ok(watched?)
}

/// Waits until `output` has no reader.
async fn unread(output: Option<&AsyncFd<OwnedFd>>) {
    let Some(output) = output else { return pending().await };
    loop {
        // Without events, writing shows the loss of the reader.
        let Ok(mut ready) = output.ready(ASKED).await else { return pending().await };
        if is_unread(output.get_ref()) {
            return;
        }
        if ready.ready().is_read_closed() {
            // The peer sends no more data, but still reads: the kernel reports that from now on, whether the peer goes
            // away or not.
            while !is_unread(output.get_ref()) {
                tokio::time::sleep(LOOK).await;
            }
            return;
        }
        ready.clear_ready();
    }
}

/// Whether `output` is a pipe or a socket whose reader has gone away.
fn is_unread(output: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(output, PollFlags::empty())];
    let ready = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    ready.is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether this process was started with the signal ignored, and has not caught it since.
fn is_ignored(kind: SignalKind) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    #[expect(unsafe_code, reason = "neither std nor rustix shows the action of a signal")]
    // SAFETY: the call changes nothing, and the kernel fills in all of the structure where it does not fail.
    unsafe {
        libc::sigaction(kind.as_raw_value(), std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn stop(output: impl Into<OwnedFd>) -> Stop {
        let output = Output::from_file(File::from(output.into()), None).unwrap();
        Stop::new(None).unwrap().while_read(&output)
    }

    /// Whether `stop` ends while many other tasks go on.
    async fn ends(stop: &mut Stop) -> bool {
        tokio::select! {
            biased;
            () = stop.wait() => true,
            () = async {
                for _ in 0..64 {
                    tokio::task::yield_now().await;
                }
            } => false,
        }
    }

    #[tokio::test]
    async fn a_reader_that_goes_ends_it() {
        let (reader, writer) = io::pipe().unwrap();
        let mut stop = stop(writer);
        assert!(!ends(&mut stop).await);
        drop(reader);
        stop.wait().await;
    }

    #[tokio::test]
    async fn the_other_end_of_a_socket_may_speak_and_ends_it_when_it_goes() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let mut stop = stop(writer);
        reader.write_all(b"hello").unwrap();
        assert!(!ends(&mut stop).await);
        drop(reader);
        stop.wait().await;
    }

    #[tokio::test]
    async fn one_that_only_reads_goes_on_reading() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut stop = stop(writer);
        reader.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!ends(&mut stop).await);
        // The same wait goes on until the reader goes away.
        let waits = async { tokio::time::timeout(Duration::from_secs(30), stop.wait()).await.unwrap() };
        let goes = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(reader);
        };
        tokio::join!(waits, goes);
    }

    #[tokio::test]
    async fn a_file_is_not_watched() {
        for path in ["/dev/null", "/proc/self/exe"] {
            assert!(stop(File::open(path).unwrap()).output.is_none(), "{path}");
        }
    }

    #[test]
    fn signals_are_not_ignored_unless_asked_for() {
        assert!(!is_ignored(SignalKind::user_defined1()));
        // std ignores SIGPIPE in each program, so that writing to a closed pipe is an error.
        assert!(is_ignored(SignalKind::pipe()));
    }
}
