//! A terminal for droptrace: a pseudo-terminal, and what it shows.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::{ffi::OsStr, fs::File};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcgetwinsize, tcsetwinsize};

use crate::droptrace::{Droptrace, Finished, command};
use crate::eventually;

/// Sequences that take the other screen, and that leave it.
const OTHER_SCREEN: [&str; 2] = ["\x1b[?1049h", "\x1b[?1049l"];

/// droptrace on a terminal.
pub struct Terminal {
    outer: OwnedFd,
    /// Keeps the terminal open, and has its settings.
    inner: OwnedFd,
    before: String,
    written: Arc<Mutex<Vec<u8>>>,
    droptrace: Droptrace,
}

impl Terminal {
    /// Starts droptrace on a terminal of so many columns and rows that understands what `term` does.
    pub fn start(arguments: &[&str], size: (u16, u16), term: &str) -> Result<Self> {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&outer)?;
        unlockpt(&outer)?;
        let name = ptsname(&outer, Vec::new())?;
        let name = OsStr::from_bytes(name.as_bytes());
        let inner = OwnedFd::from(File::options().read(true).write(true).open(name)?);
        resize(&inner, size)?;
        let before = settings(&inner)?;
        let mut command = command(arguments)?;
        command.env("TERM", term).env_remove("NO_COLOR").env_remove("COLUMNS");
        command.stdin(Stdio::from(inner.try_clone()?)).stdout(Stdio::from(inner.try_clone()?));
        // Ctrl-Z stops the job of droptrace; a shell would make it, too.
        command.process_group(0);
        let droptrace = Droptrace::spawn(&mut command)?;
        let written = Arc::default();
        collect(File::from(outer.try_clone()?), &written);
        Ok(Self { outer, inner, before, written, droptrace })
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) -> Result<()> {
        let written = rustix::io::write(&self.outer, keys.as_bytes())?;
        ensure!(written == keys.len(), "{keys:?} had no room");
        Ok(())
    }

    /// Gives the terminal another size, and sends the signal that says so.
    pub fn resize(&self, size: (u16, u16)) -> Result<()> {
        resize(&self.inner, size)?;
        self.droptrace.signal(Signal::WINCH)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.droptrace.signal(signal)
    }

    /// The process id of droptrace.
    pub fn pid(&self) -> u32 {
        self.droptrace.pid()
    }

    /// All that was written.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The lines on the screen.
    pub fn screen(&self) -> Result<Vec<String>> {
        let size = tcgetwinsize(&self.inner)?;
        let display = self.display()?;
        Ok(display.screen().rows(0, size.ws_col).map(|row| row.trim_end().to_owned()).collect())
    }

    /// The screen with its colours.
    pub fn display(&self) -> Result<vt100::Parser> {
        let size = tcgetwinsize(&self.inner)?;
        let mut display = vt100::Parser::new(size.ws_row, size.ws_col, 0);
        display.process(self.written().as_bytes());
        Ok(display)
    }

    /// Waits until the lines on the screen satisfy `condition`, and returns them.
    pub fn await_screen(&self, what: &str, condition: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        let mut screen = vec![];
        let found = eventually(what, || {
            screen = self.screen()?;
            Ok(condition(&screen))
        });
        found.with_context(|| screen.join("\n"))?;
        Ok(screen)
    }

    /// Whether the terminal has the settings from before, and shows its own screen with a cursor.
    pub fn is_restored(&self) -> Result<bool> {
        let written = self.written();
        let [taken, left] = OTHER_SCREEN.map(|sequence| written.rfind(sequence));
        let has_cursor = written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l");
        Ok(left > taken && has_cursor && settings(&self.inner)? == self.before)
    }

    /// Waits for the end of droptrace. Returns it, what was written after the other screen was left, and whether the terminal
    /// was restored.
    pub fn end(self) -> Result<(Finished, String, bool)> {
        let Self { outer, inner, before, written, droptrace } = self;
        let finished = droptrace.wait()?;
        let text = || String::from_utf8_lossy(&written.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        // What droptrace wrote is in the terminal; the thread reads it soon.
        eventually("the terminal to be read", || Ok(rustix::io::ioctl_fionread(&outer)? == 0))?;
        crate::pause(std::time::Duration::from_millis(50));
        let all = text();
        let [taken, left] = OTHER_SCREEN.map(|sequence| all.rfind(sequence));
        let is_restored = left >= taken && settings(&inner)? == before;
        let last = left.map_or(&*all, |at| &all[at + OTHER_SCREEN[1].len()..]).to_owned();
        Ok((finished, last, is_restored))
    }

    /// Closes the terminal. Returns droptrace, which runs.
    pub fn close(self) -> Droptrace {
        self.droptrace
    }
}

/// Reads what droptrace writes, until the terminal is closed or nobody wants it.
fn collect(mut outer: File, written: &Arc<Mutex<Vec<u8>>>) {
    const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let written = Arc::downgrade(written);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Some(written) = written.upgrade() {
            let is_ready = poll(&mut [PollFd::new(&outer, PollFlags::IN)], Some(&LOOK));
            if !matches!(is_ready, Ok(1)) {
                continue;
            }
            // Fails when the last process has closed the terminal.
            let Ok(read @ 1..) = outer.read(&mut bytes) else { break };
            written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..read]);
        }
    });
}

fn resize(terminal: &OwnedFd, (columns, rows): (u16, u16)) -> Result<()> {
    Ok(tcsetwinsize(terminal, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 })?)
}

fn settings(terminal: &OwnedFd) -> Result<String> {
    let settings = tcgetattr(terminal)?;
    let flags = (settings.input_modes, settings.output_modes, settings.control_modes, settings.local_modes);
    Ok(format!("{flags:?} {:?}", settings.special_codes))
}
