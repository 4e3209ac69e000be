//! Starts a machine, and watches it until its end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::guest::{Guest, Job};
use super::kernels::Kernel;
use super::qemu::Qemu;
use super::verdict::{MARK, Session};
use crate::support::pace::Deadline;
use crate::support::process::{self, announce};
use crate::support::tally::Tally;

/// The most starts of one machine. Some die before our first process prints anything, because emulation is not perfect.
const ATTEMPTS: u32 = 3;

/// The parts of starting machines that are common to all kernels.
pub(super) struct Workshop {
    pub(super) folder: PathBuf,
    pub(super) qemu: Qemu,
    pub(super) guest: Guest,
}

/// The jobs and limits of one run.
pub(super) struct Plan<'p> {
    /// The part of file names that distinguishes this run from others on the same kernel.
    pub(super) name: &'p str,
    /// Words added to the kernel's command line.
    pub(super) append: &'p str,
    pub(super) jobs: &'p [Job],
    /// The machine hangs if it prints nothing for this long; longer if this machine is slow, and `None` for no limit.
    pub(super) silence_limit: Option<Duration>,
}

/// The result of a machine's run.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) duration: Duration,
    /// Starts that died before our first process printed anything.
    pub(super) false_starts: u32,
    /// The output of the command.
    pub(super) output: String,
}

/// Files of one run.
struct Paths {
    initramfs: PathBuf,
    console: PathBuf,
    output: PathBuf,
}

impl Workshop {
    fn paths(&self, kernel: &Kernel, plan: &Plan<'_>) -> Result<Paths> {
        let logs = self.folder.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let name = format!("{}-{}", kernel.release, plan.name);
        Ok(Paths {
            initramfs: self.folder.join("initramfs").join(&name),
            console: logs.join(format!("{name}.console")),
            output: logs.join(format!("{name}.output")),
        })
    }

    /// Runs the plan's jobs. An error means that no machine could be started at all.
    pub(super) fn run(&self, kernel: &Kernel, plan: &Plan<'_>) -> Result<Outcome> {
        let paths = self.paths(kernel, plan)?;
        self.guest.write(&paths.initramfs, kernel, plan.jobs, false)?;
        let expected: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
        let mut false_starts = 0;
        loop {
            let mut command = self.qemu.machine(kernel, &paths.initramfs, plan.append, &paths.console);
            let started = Instant::now();
            let mut output = String::new();
            let show = |line: &str| output.extend([line, "\n"]);
            let (session, fate) = watch(&mut command, &paths.output, plan.silence_limit, show)?;
            let duration = started.elapsed();
            let console = read_lossy(&paths.console);
            if session.up.is_none() {
                false_starts += 1;
                announce(format_args!(
                    "{}: died before our first process spoke (start {false_starts} of {ATTEMPTS}); its last words: {}",
                    kernel.release,
                    console.lines().last().unwrap_or("none")
                ));
                if false_starts < ATTEMPTS {
                    continue;
                }
            }
            let tally = session.judge(&expected, &console, fate);
            let _ = fs::remove_file(&paths.initramfs);
            return Ok(Outcome { tally, duration, false_starts, output });
        }
    }

    /// Runs one command and passes its output and exit status on; without a command, a shell on this terminal.
    pub(super) fn run_command(&self, kernel: &Kernel, append: &str, command: &[String]) -> Result<ExitCode> {
        if command.is_empty() {
            let shell = ["busybox", "setsid", "-c", "sh"].map(str::to_owned);
            let (mut machine, _) = self.machine_for(kernel, append, &shell, true)?;
            announce("`exit` ends it, as does Ctrl-A X");
            process::run(&mut machine)?;
            return Ok(ExitCode::SUCCESS);
        }
        let status = self.follow(kernel, append, command, |line| println!("{line}"))?;
        Ok(status.map_or(ExitCode::FAILURE, ExitCode::from))
    }

    /// Runs one command; returns its exit status, if the machine reported one, and its output.
    pub(super) fn capture(&self, kernel: &Kernel, command: &[String]) -> Result<(Option<u8>, String)> {
        let mut output = String::new();
        let status = self.follow(kernel, "", command, |line| {
            output.push_str(line);
            output.push('\n');
        })?;
        Ok((status, output))
    }

    fn follow(
        &self,
        kernel: &Kernel,
        append: &str,
        command: &[String],
        mut show: impl FnMut(&str),
    ) -> Result<Option<u8>> {
        let (mut machine, paths) = self.machine_for(kernel, append, command, false)?;
        let (session, fate) = watch(&mut machine, &paths.output, None, |line| {
            if !line.starts_with(MARK) {
                show(line);
            }
        })?;
        if let Some(fate) = fate {
            announce(fate);
        }
        let status = session.status("command").and_then(|status| status.parse().ok());
        if status.is_none() {
            announce(format_args!("the machine reported no exit status; see {}", paths.console.display()));
        }
        Ok(status)
    }

    /// The emulator's command for a machine that runs these words and ends.
    fn machine_for(
        &self,
        kernel: &Kernel,
        append: &str,
        words: &[String],
        interactive: bool,
    ) -> Result<(Command, Paths)> {
        let terminal = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
        let job = Job {
            name: "command".to_owned(),
            program: words[0].clone(),
            arguments: words[1..].to_vec(),
            environment: vec![("TERM", terminal), ("PS1", "vm# ".to_owned())],
        };
        let plan = Plan { name: "command", append, jobs: &[job], silence_limit: None };
        let paths = self.paths(kernel, &plan)?;
        self.guest.write(&paths.initramfs, kernel, plan.jobs, interactive)?;
        let machine = self.qemu.machine(kernel, &paths.initramfs, append, &paths.console);
        announce(format_args!("starting {}; the kernel's messages: {}", kernel.release, paths.console.display()));
        Ok((machine, paths))
    }
}

/// Reads the output of a machine until it ends or is silent for too long; returns the session, and the fault of its end
/// if there is one.
fn watch(
    command: &mut Command,
    log: &Path,
    limit: Option<Duration>,
    mut show: impl FnMut(&str),
) -> Result<(Session, Option<String>)> {
    let mut log = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let (mut child, lines) = spawn(command)?;
    let mut session = Session::default();
    let mut deadline = limit.map(Deadline::after);
    loop {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.left());
        match lines.recv_timeout(left) {
            Ok(line) => {
                deadline = limit.map(Deadline::after);
                writeln!(log, "{line}").context("cannot write the log")?;
                // Empty lines only separate our lines from a program's last output.
                if !line.is_empty() {
                    show(&line);
                }
                session.line(&line);
            }
            Err(RecvTimeoutError::Timeout) => {
                let Some(silent) = deadline.filter(Deadline::has_passed) else { continue };
                child.end();
                return Ok((session, Some(format!("silent for {:.0} s", silent.elapsed().as_secs_f64()))));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok((session, child.fate()?)),
        }
    }
}

/// A running emulator; killed with its handle.
struct Machine {
    child: Child,
    /// The pipe stays open while the machine runs: the emulator must not read the end of its input.
    _stdin: Option<ChildStdin>,
}

impl Machine {
    fn end(&mut self) {
        // The kill fails if the process has already ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn fate(&mut self) -> Result<Option<String>> {
        let status = self.child.wait().context("cannot wait for QEMU")?;
        Ok((!status.success()).then(|| format!("QEMU: {status}")))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(command: &mut Command) -> Result<(Machine, Receiver<String>)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::line(command)))?;
    let mut output = BufReader::new(child.stdout.take().context("QEMU has no stdout")?);
    let stdin = child.stdin.take();
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    Ok((Machine { child, _stdin: stdin }, lines))
}

fn read_lossy(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(script: &str, limit: Duration) -> (Session, Option<String>) {
        let log = std::env::temp_dir().join(format!("xtask-watch-{}-{:?}", std::process::id(), thread::current().id()));
        let result = watch(Command::new("sh").args(["-c", script]), &log, Some(limit), |_| ()).unwrap();
        fs::remove_file(log).unwrap();
        result
    }

    #[test]
    fn a_machine_that_hangs_is_ended() {
        let started = Instant::now();
        let (session, fate) = watched("echo 'droptrace-vm: up 6.1'; exec sleep 3600", Duration::from_millis(300));
        assert_eq!(session.up.as_deref(), Some("6.1"));
        assert!(fate.unwrap().starts_with("silent for"));
        assert!(started.elapsed() < Duration::from_mins(30));
    }

    #[test]
    fn fault_of_the_end_is_reported() {
        let (session, fate) = watched("echo 'droptrace-vm: end'", Duration::from_secs(30));
        assert!(session.ended && fate.is_none());
        let (session, fate) = watched("exit 3", Duration::from_secs(30));
        assert!(!session.ended && fate.unwrap().contains("exit status: 3"));
    }
}
