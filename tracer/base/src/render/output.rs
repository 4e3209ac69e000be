//! Outputs of results: stdout, or a file.

mod made;
mod opened;
mod writer;

use std::cell::RefCell;
use std::env;
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::Size;
use crate::files::Identity;
use made::Made;
use opened::Opened;
pub use opened::end_flag;
use writer::Writer;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless the environment forbids it
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The width of text for an output that is not a terminal.
const DEFAULT_WIDTH: usize = 100;
/// The size of a terminal that does not report its own.
const DEFAULT_TERMINAL: (usize, usize) = (80, 24);
const BUFFER: usize = 64 * 1024;

/// The error of an output.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file cannot be created or opened for writing.
    #[error("cannot write to {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is also an input, or another output.
    #[error("{} and {} are the same file: writing would destroy it", path.display(), other.display())]
    Occupied {
        /// The file that results should be written to.
        path: PathBuf,
        /// The other name of the file.
        other: PathBuf,
    },
    /// Another process of droptrace writes to the file.
    #[error("another droptrace is writing to {}: end it, or choose another name", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Writing failed, for example on a full disk. A part of the output may have been written.
    #[error("writing to {target} failed")]
    Write {
        /// `stdout`, or the file.
        target: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The reader of the pipe closed it: a normal end, not a failure.
    #[error("the reader of {target} closed it")]
    ReaderGone {
        /// `stdout`, or the file.
        target: String,
    },
}

/// Returns whether a run ended because nobody reads its results any more.
pub fn reader_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let carried = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let error = carried.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref());
        matches!(error, Some(OutputError::ReaderGone { .. }))
    })
}

/// An existing or new output, before anything is written to it.
struct Target {
    /// `None` for stdout.
    path: Option<PathBuf>,
    file: File,
    identity: Identity,
    is_regular: bool,
    made: Made,
}

impl Target {
    fn open(path: Option<&Path>) -> Result<Self, OutputError> {
        let path = path.filter(|path| path.as_os_str() != "-").map(Path::to_owned);
        let file = match &path {
            Some(path) => create_or_open(path),
            None => io::stdout().as_fd().try_clone_to_owned().map(|file| (File::from(file), false)),
        };
        let open = |(file, is_new): (File, bool)| {
            let identity = Identity::of(&file)?;
            let made = path.as_ref().filter(|_| is_new);
            let made = made.map_or_else(Made::default, |path| Made::new(path.clone(), identity));
            Ok((file.metadata()?.is_file(), identity, file, made))
        };
        match file.and_then(open) {
            Ok((is_regular, identity, file, made)) => Ok(Self { path, file, identity, is_regular, made }),
            Err(source) => Err(OutputError::Open { path: path.unwrap_or_else(|| "stdout".into()), source }),
        }
    }

    fn name(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("stdout"))
    }

    /// Returns whether both outputs are the same file.
    fn mixes_with(&self, other: &Self) -> bool {
        let is_sink = !self.is_regular && self.path.as_deref() == Some(Path::new("/dev/null"));
        self.identity == other.identity && !is_sink
    }

    /// Returns whether writing to the output would destroy the input.
    fn destroys(&self, input: Identity) -> bool {
        self.is_regular && self.identity == input
    }

    fn occupied(&self, other: &Path) -> OutputError {
        OutputError::Occupied { path: self.name().to_owned(), other: other.to_owned() }
    }

    fn into_output(self) -> Result<Output, OutputError> {
        let Self { path, file, is_regular, made, .. } = self;
        // Output to stdout is appended if the shell opened it so.
        let is_replaced = is_regular && path.is_some();
        if is_replaced && matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(OutputError::Busy { path: path.unwrap_or_default() });
        }
        Output::new(file, path.clone(), is_replaced, made)
            .map_err(|source| OutputError::Open { path: path.unwrap_or_else(|| "stdout".into()), source })
    }
}

/// A new file, or an existing one with its content, and whether it is new.
fn create_or_open(path: &Path) -> io::Result<(File, bool)> {
    match File::options().write(true).create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        // A link to a missing file exists, too.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = File::options().write(true).create(true).truncate(false).open(path)?;
            Ok((file, false))
        }
        Err(error) => Err(error),
    }
}

/// A buffered writer to stdout or a file. Its errors are [`OutputError`]s within [`io::Error`]s of the system's kind.
/// Bytes that are in the buffer when the output is dropped may be lost, so flush it.
///
/// Clones write to the same output, so that the owner can still call [`Output::finish`] after a clone was given away.
#[derive(Clone, Debug)]
pub struct Output {
    writer: Rc<RefCell<Writer>>,
    file: Arc<File>,
    target: Option<PathBuf>,
    is_terminal: bool,
}

impl Output {
    /// Opens the file at once, so that a bad path is an error before a run starts; the file's old content is removed
    /// when the first byte is written. A file that was made, and that nothing was written to, is removed with the output
    /// unless it was finished. No path, or `-`, stands for stdout.
    pub fn open(path: Option<&Path>) -> Result<Self, OutputError> {
        Target::open(path)?.into_output()
    }

    /// The same, with stderr instead of stdout, which then belongs to another program.
    pub fn open_beside(path: Option<&Path>) -> Result<Self, OutputError> {
        if path.is_some_and(|path| path.as_os_str() != "-") {
            return Self::open(path);
        }
        let file = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        let opened = file.and_then(|file| Self::new(file, Some("stderr".into()), false, Made::default()));
        opened.map_err(|source| OutputError::Open { path: "stderr".into(), source })
    }

    /// Opens outputs for results and for a page, unless both are the same file or one of them is an input.
    pub fn open_apart<'a>(
        path: Option<&Path>,
        page: Option<&Path>,
        inputs: impl IntoIterator<Item = &'a Path>,
    ) -> Result<(Self, Option<Self>), OutputError> {
        let output = Target::open(path)?;
        let page = page.map(|page| Target::open(Some(page))).transpose()?;
        if let Some(page) = page.as_ref().filter(|page| page.mixes_with(&output)) {
            return Err(page.occupied(output.name()));
        }
        for input in inputs {
            let Some(found) = Identity::of_input(input) else { continue };
            if let Some(target) = [Some(&output), page.as_ref()].into_iter().flatten().find(|to| to.destroys(found)) {
                return Err(target.occupied(input));
            }
        }
        Ok((output.into_output()?, page.map(Target::into_output).transpose()?))
    }

    /// Makes an output of an open file, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn from_file(file: File, target: Option<PathBuf>) -> io::Result<Self> {
        Self::new(file, target, false, Made::default())
    }

    fn new(file: File, target: Option<PathBuf>, is_replaced: bool, made: Made) -> io::Result<Self> {
        let (is_terminal, file) = (file.is_terminal(), Arc::new(file));
        let opened = Opened::new(&file, is_replaced, made);
        let writer = Rc::new(RefCell::new(Writer::new(BUFFER, opened, target.as_deref())?));
        Ok(Self { writer, file, target, is_terminal })
    }

    /// Writes all buffered bytes, and ends a compressed frame. Nothing may be written afterwards.
    pub fn finish(&self) -> io::Result<()> {
        self.writer.borrow_mut().finish().map_err(|error| self.explain(error))
    }

    /// Returns a second handle for the same output.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Returns whether the output is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns whether the output is a terminal that can show a table over the last one.
    pub fn redraws(&self) -> bool {
        self.is_terminal && env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Returns a function that determines the available space on each call: `COLUMNS` if it is set, the terminal's
    /// size, or 100 columns and no limit of rows.
    pub fn size(&self) -> Box<dyn Fn() -> Size> {
        let terminal = self.is_terminal.then(|| Arc::clone(&self.file));
        Box::new(move || {
            let terminal = terminal.as_ref().map(|file| {
                let reported = rustix::termios::tcgetwinsize(file).ok();
                reported.map_or((0, 0), |size| (size.ws_col.into(), size.ws_row.into()))
            });
            size(env::var_os("COLUMNS").as_deref(), terminal)
        })
    }

    /// As [`size`](Self::size), with room for whole lines where the output is not a terminal and `COLUMNS` is not set:
    /// readers such as grep need whole names.
    pub fn size_of_tables(&self) -> Box<dyn Fn() -> Size> {
        let size = self.size();
        let has_width = self.is_terminal || env::var_os("COLUMNS").is_some();
        Box::new(move || if has_width { size() } else { Size { width: usize::MAX, ..size() } })
    }

    /// Returns whether to use colours.
    pub fn wants_color(&self, choice: ColorChoice) -> bool {
        color(choice, self.is_terminal, env::var_os("NO_COLOR").as_deref())
    }

    fn explain(&self, source: io::Error) -> io::Error {
        let kind = source.kind();
        let target = self.target.as_ref().map_or_else(|| "stdout".to_owned(), |path| path.display().to_string());
        let explained = match kind {
            io::ErrorKind::Interrupted => return source,
            io::ErrorKind::BrokenPipe => OutputError::ReaderGone { target },
            _ => OutputError::Write { target, source },
        };
        io::Error::new(kind, explained)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.borrow_mut().write(bytes).map_err(|error| self.explain(error))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.borrow_mut().write_all(bytes).map_err(|error| self.explain(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.borrow_mut().flush().map_err(|error| self.explain(error))
    }
}

/// `terminal` is its columns and rows, 0 if it does not report them.
fn size(columns: Option<&OsStr>, terminal: Option<(usize, usize)>) -> Size {
    let columns = columns.and_then(OsStr::to_str).and_then(|text| text.parse().ok()).filter(|&columns| columns > 0);
    let or = |reported, default| if reported == 0 { default } else { reported };
    let terminal = terminal.map(|(width, height)| (or(width, DEFAULT_TERMINAL.0), or(height, DEFAULT_TERMINAL.1)));
    Size {
        width: columns.or(terminal.map(|terminal| terminal.0)).unwrap_or(DEFAULT_WIDTH),
        height: terminal.map(|terminal| terminal.1),
    }
}

/// Returns whether to use colours on a terminal.
pub fn color_of_terminal(choice: ColorChoice) -> bool {
    color(choice, true, env::var_os("NO_COLOR").as_deref())
}

/// `NO_COLOR` counts when it is not empty (<https://no-color.org>).
fn color(choice: ColorChoice, is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && no_color.is_none_or(OsStr::is_empty),
    }
}

#[cfg(test)]
mod tests;
