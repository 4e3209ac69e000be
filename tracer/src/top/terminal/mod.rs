//! Takes over the terminal, reads its keys, and gives it back as it was, however the run ends.

mod ansi;
mod input;
mod takeover;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use ratatui_core::buffer::Buffer;
use ratatui_core::terminal::Terminal;
use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use ansi::Ansi;
pub(crate) use input::{Input, Woken};
pub(crate) use takeover::{give_back, give_back_on_panic};

/// Who stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspended {
    /// This process, which somebody asked to stop.
    Process,
    /// The whole process group, as a terminal's own Ctrl-Z has it: a shell regains the terminal only when `sudo` or a script
    /// around droptrace stops as well.
    Job,
}

/// The screen of a terminal that droptrace has taken over.
pub(crate) struct Screen {
    terminal: Terminal<Ansi>,
}

impl Screen {
    /// Takes over the terminal: stdin for keys, stdout for the screen.
    ///
    /// # Errors
    /// Fails if either is no terminal.
    pub(crate) fn take(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        let drawn = File::from(output.try_clone()?);
        takeover::take(input, output)?;
        let terminal = Terminal::new(Ansi::new(drawn)).inspect_err(|_| give_back())?;
        Ok(Self { terminal })
    }

    /// Draws the screen: only cells that changed are written. The size is read each time.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame.buffer_mut())).map(drop)
    }

    /// Asks the terminal to put a text on the clipboard of whoever sits there, also at the other end of ssh. Many terminals
    /// do not do it unless they are set up to, and none answers.
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        self.terminal.backend_mut().copy(text)
    }

    /// Takes the terminal again after another program may have changed it; the next drawing writes all cells.
    pub(crate) fn retake(&mut self) -> io::Result<()> {
        takeover::retake()?;
        self.terminal.clear()
    }

    /// Gives the terminal back, stops until this process is continued, and takes the terminal again.
    pub(crate) fn suspend(&mut self, who: Suspended) -> io::Result<()> {
        takeover::pause()?;
        match who {
            Suspended::Process => kill_process(getpid(), Signal::STOP)?,
            Suspended::Job => kill_current_process_group(Signal::STOP)?,
        }
        self.retake()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}
