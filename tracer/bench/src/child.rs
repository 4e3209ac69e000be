//! A measured program: its start, its readiness, its end, and the resources that it used.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use super::target::{Keep, Launch, PERF_ANSWER, PERF_CONTROL, Ready};
use super::{Absent, Interrupted, Stopped, sys};

/// The greatest time for a start. Even an emulated machine needs less.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// The greatest time for the end of a program. A program that needs longer is killed.
const END_PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(1);
/// The time between opening an event and being attached to it.
const SETTLING: Duration = Duration::from_millis(100);
/// The greatest length of an error message, in characters.
const LONGEST_ERROR: usize = 400;

/// A running program. When the handle is dropped, the program is interrupted, and killed if it does not end.
pub(super) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: Reader,
    stderr: Reader,
    farewell: &'static str,
    /// The time from the start until the program was ready.
    pub(super) attached_after: Duration,
    ended: Option<ExitStatus>,
}

/// The resources that the program used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// The CPU time.
    pub(super) cpu: Duration,
    /// The user and system parts of the CPU time, with the resolution of the kernel's tick.
    pub(super) user: Duration,
    pub(super) system: Duration,
    /// The peak of resident memory, in bytes.
    pub(super) peak: u64,
}

impl Child {
    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// [`Absent`], if the program does not exist or ends before it is ready.
    pub(super) fn start(launch: &Launch, folder: &Path, monitor_runs: fn() -> bool, stopped: &Stopped) -> Result<Self> {
        let gate = (launch.ready == Ready::Acknowledges).then(|| Gate::new(folder)).transpose()?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C on the terminal must reach only the benchmark, which then ends the program in order.
        command.process_group(0);
        sys::end_with_this_thread(&mut command);
        let started = Instant::now();
        let mut process = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Absent("not found on PATH".into()),
            _ => Absent(format!("cannot be started: {error}")),
        })?;
        let stdout = Reader::new(process.stdout.take().context("stdout is not piped")?, launch.keep);
        let stderr = Reader::new(process.stderr.take().context("stderr is not piped")?, Keep::All);
        let stdin = process.stdin.take();
        let farewell = launch.farewell;
        let mut child = Self { process, stdin, stdout, stderr, farewell, attached_after: Duration::ZERO, ended: None };
        child.type_in(launch.input);
        child.wait_until_ready(launch.ready, gate, monitor_runs, started, stopped)?;
        Ok(child)
    }

    fn wait_until_ready(
        &mut self,
        ready: Ready,
        mut gate: Option<Gate>,
        monitor_runs: fn() -> bool,
        started: Instant,
        stopped: &Stopped,
    ) -> Result<()> {
        loop {
            let is_ready = match ready {
                Ready::Says(words) => self.stderr.contains(words) || self.stdout.contains(words),
                Ready::HoldsEvent => holds_event(self.pid()),
                Ready::Acknowledges => gate.as_mut().is_some_and(Gate::is_open),
                Ready::MonitorRuns => monitor_runs(),
            };
            let so_far = started.elapsed();
            if is_ready {
                self.attached_after = so_far;
                if ready == Ready::HoldsEvent {
                    thread::sleep(SETTLING);
                }
            }
            if let Some(status) = self.process.try_wait()? {
                self.ended = Some(status);
                bail!(Absent(self.error_message(status)));
            }
            if is_ready {
                return Ok(());
            }
            if stopped.is_set() {
                bail!(Interrupted);
            }
            if so_far > START_PATIENCE {
                bail!(Absent(format!("is not attached {} s after its start", START_PATIENCE.as_secs())));
            }
            thread::sleep(POLL);
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        usage(self.pid()).context("cannot read the CPU time and memory of a program")
    }

    /// Interrupts the program, and returns its output on stdout and stderr.
    ///
    /// # Errors
    /// Fails if the program fails.
    pub(super) fn finish(mut self) -> Result<(String, String)> {
        let status = self.end()?;
        // bpftrace and perf show their results and then end by the signal.
        let is_well = status.success() || std::os::unix::process::ExitStatusExt::signal(&status) == Some(2);
        if !is_well && status.code() != Some(130) {
            bail!("it failed: {}", self.error_message(status));
        }
        Ok((self.stdout.finish()?, self.stderr.finish()?))
    }

    fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("no process id")?;
        // The process was not waited for yet, so it still has its id.
        kill_process(pid, Signal::INT).context("cannot end a program")?;
        self.type_in(self.farewell);
        self.stdin = None;
        let asked = Instant::now();
        while asked.elapsed() < END_PATIENCE {
            if let Some(status) = self.process.try_wait()? {
                self.ended = Some(status);
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        self.process.kill()?;
        self.ended = Some(self.process.wait()?);
        bail!("it did not end {} s after Ctrl-C and was killed", END_PATIENCE.as_secs())
    }

    fn type_in(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            // A program that does not read has ended, which other checks report.
            _ = stdin.write_all(text.as_bytes());
        }
    }

    fn error_message(&mut self, status: ExitStatus) -> String {
        let said = self.stderr.finish().unwrap_or_default() + &self.stdout.finish().unwrap_or_default();
        let trimmed =
            said.lines().map(|line| line.trim().trim_start_matches("droptrace: ").trim_start_matches("error: "));
        let lines: Vec<_> = trimmed.filter(|line| !line.is_empty()).collect();
        let mut said = lines.join("; ");
        if let Some((end, _)) = said.char_indices().nth(LONGEST_ERROR) {
            said.truncate(end);
            said.push('…');
        }
        if said.is_empty() { format!("it ended with {status}") } else { said }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // This also ends a drop monitor that the program started.
        _ = self.end();
    }
}

/// Two FIFOs that enable perf and receive its answer.
struct Gate {
    answer: File,
    _control: File,
}

impl Gate {
    fn new(folder: &Path) -> Result<Self> {
        let open = |name: &str| -> io::Result<File> {
            let path: PathBuf = folder.join(name);
            _ = fs::remove_file(&path);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
        };
        let (mut control, answer) = (open(PERF_CONTROL)?, open(PERF_ANSWER)?);
        control.write_all(b"enable\n")?;
        Ok(Self { answer, _control: control })
    }

    fn is_open(&mut self) -> bool {
        let mut answer = [0; 16];
        self.answer.read(&mut answer).is_ok_and(|length| answer[..length].starts_with(b"ack"))
    }
}

/// Returns whether the process has an open file of `perf_event_open`, such as a tracepoint.
fn holds_event(pid: u32) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let is_event = |path: PathBuf| path.to_string_lossy() == "anon_inode:[perf_event]";
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(is_event))
}

fn usage(pid: u32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain blanks; utime and stime are the 12th and 13th fields after the name.
    let mut fields = stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace().skip(11);
    // USER_HZ is 100 on all of Linux's architectures that droptrace supports.
    let mut ticks = || Some(Duration::from_millis(10 * fields.next()?.parse::<u64>().ok()?));
    let (user, system) = (ticks().context("stat is cut")?, ticks().context("stat is cut")?);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak = 1024 * peak.context("no VmHWM")?.trim().parse::<u64>()?;
    Ok(Usage { cpu: sys::cpu_time(pid)?, user, system, peak })
}

/// A thread that reads a pipe to its end.
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Reader {
    fn new(mut pipe: impl Read + Send + 'static, keep: Keep) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let read = move || {
            let mut chunk = vec![0; 64 << 10];
            loop {
                match pipe.read(&mut chunk)? {
                    0 => return Ok(()),
                    length => append(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &chunk[..length], keep),
                }
            }
        };
        Self { text, thread: Some(thread::spawn(read)) }
    }

    fn contains(&self, words: &str) -> bool {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        memchr::memmem::find(&text, words.as_bytes()).is_some()
    }

    fn finish(&mut self) -> Result<String> {
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("a reader panicked"))?.context("cannot read what a program prints")?;
        }
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Adds bytes to the text, and removes those that need not be kept.
fn append(text: &mut Vec<u8>, chunk: &[u8], keep: Keep) {
    text.extend_from_slice(chunk);
    if keep == Keep::LastLine {
        let before_last = text.len().saturating_sub(1);
        if let Some(end) = memchr::memrchr(b'\n', &text[..before_last]) {
            text.drain(..=end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(program: &str, arguments: &[&str], ready: Ready) -> Launch {
        let arguments = arguments.iter().map(Into::into).collect();
        Launch { program: program.into(), arguments, ready, keep: Keep::All, input: "hello\n", farewell: "" }
    }

    fn start(launch: &Launch) -> Result<Child> {
        Child::start(launch, Path::new("/nowhere"), || false, &Stopped::default())
    }

    #[test]
    fn program_that_does_not_start_is_absent_with_its_message() {
        let says = Ready::Says("ready");
        let error = start(&launch("no-such-program", &[], says)).err().unwrap();
        assert_eq!(error.downcast::<Absent>().unwrap().0, "not found on PATH");
        let error = start(&launch("sh", &["-c", "echo no way >&2; exit 3"], says)).err().unwrap();
        assert_eq!(error.downcast::<Absent>().unwrap().0, "no way");
        let error = start(&launch("sh", &["-c", "exit 3"], says)).err().unwrap();
        assert_eq!(error.downcast::<Absent>().unwrap().0, "it ended with exit status: 3");
    }

    #[test]
    fn interrupted_program_ends_and_its_output_is_read() {
        let script = "trap 'echo done; exit 0' INT; read line; echo $line; while :; do sleep 0.01; done";
        let child = start(&launch("sh", &["-c", script], Ready::Says("hello"))).unwrap();
        let usage = child.usage().unwrap();
        assert!(usage.peak > 0 && usage.cpu > Duration::ZERO, "{usage:?}");
        assert!(child.attached_after > Duration::ZERO);
        let (stdout, stderr) = child.finish().unwrap();
        assert_eq!((stdout.as_str(), stderr.as_str()), ("hello\ndone\n", ""));
    }

    #[test]
    fn failure_of_a_program_is_reported() {
        let script = "trap 'echo broken >&2; exit 1' INT; read line; echo $line; while :; do sleep 0.01; done";
        let child = start(&launch("sh", &["-c", script], Ready::Says("hello"))).unwrap();
        let error = child.finish().unwrap_err().to_string();
        assert_eq!(error, "it failed: broken; hello");
    }

    #[test]
    fn only_the_last_line_is_kept() {
        let mut text = Vec::new();
        for chunk in ["one\ntw", "o\n", "three\nfo", "ur", "\n"] {
            append(&mut text, chunk.as_bytes(), Keep::LastLine);
        }
        assert_eq!(text, b"four\n");
    }
}
