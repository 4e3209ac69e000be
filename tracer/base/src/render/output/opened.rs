//! A file, pipe or terminal that results are written to.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Once};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::flag;

use super::made::Made;

/// The longest time for which a reader that does not read may delay the end of a run.
const PATIENCE: Duration = Duration::from_secs(2);
/// The interval at which a waiting writer checks whether the run should end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

static END: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The flag that ends the run. It also ends the wait of a writer for its reader.
pub fn end_flag() -> Arc<AtomicBool> {
    Arc::clone(&END)
}

/// An open output. Old content is removed when the first byte is written: a run that fails before leaves it unchanged.
/// A writer waits for the reader of a pipe or a terminal until the run should end, and then no longer than
/// [`PATIENCE`].
pub(super) struct Opened {
    file: Arc<File>,
    has_old_content: bool,
    made: Made,
    /// Set when the run should end.
    end: Arc<AtomicBool>,
    /// The reader did not read in time, so that later writes fail at once.
    is_stuck: bool,
}

/// Makes a write beyond the largest file size (`ulimit -f`) fail as on a full disk: without a handler, SIGXFSZ would
/// end the process without a message.
fn survive_size_limit() {
    static HANDLED: Once = Once::new();
    HANDLED.call_once(|| {
        if let Err(error) = flag::register(libc::SIGXFSZ, Arc::default()) {
            tracing::debug!("SIGXFSZ cannot be handled: {error}");
        }
    });
}

impl Opened {
    /// A file that is new or empty, or that is appended to, has no content to remove.
    pub(super) fn new(file: &Arc<File>, has_old_content: bool, made: Made) -> Self {
        survive_size_limit();
        let file = without_waiting(file).map_or_else(|| Arc::clone(file), Arc::new);
        Self { file, has_old_content, made, end: end_flag(), is_stuck: false }
    }

    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.made.keep();
        if self.has_old_content {
            self.file.set_len(0)?;
            self.has_old_content = false;
        }
        Ok(())
    }

    /// Waits until there is room, or until the run should end and the reader has not read within [`PATIENCE`].
    fn wait(&mut self) -> io::Result<()> {
        let mut end: Option<Instant> = None;
        while !self.is_stuck {
            match poll(&mut [PollFd::new(&*self.file, PollFlags::OUT)], Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.end.load(Ordering::Relaxed) {
                let since = *end.get_or_insert_with(Instant::now);
                self.is_stuck = since.elapsed() >= PATIENCE;
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "its reader does not read; the rest of the results is lost"))
    }
}

impl Write for Opened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.empty()?;
        loop {
            match (&*self.file).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a pipe or a terminal once more so that writing never blocks, because the first file description may be shared
/// with another program. `None` if the file is of another kind or may not be opened.
fn without_waiting(file: &File) -> Option<File> {
    let is_pipe = file.metadata().ok()?.file_type().is_fifo();
    if !is_pipe && !file.is_terminal() {
        return None;
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_run_ends_although_nobody_reads() {
        let (reader, writer) = io::pipe().unwrap();
        let file = Arc::new(File::from(OwnedFd::from(writer)));
        let end = Arc::default();
        let mut opened = Opened { end: Arc::clone(&end), ..Opened::new(&file, false, Made::default()) };
        let ender = std::thread::spawn(move || end.store(true, Ordering::Relaxed));
        let error = opened.write_all(&vec![b'a'; 1 << 20]).unwrap_err();
        ender.join().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let again = opened.write(b"a").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::TimedOut, "without waiting once more");
        drop(reader);
    }

    #[test]
    fn slow_reader_gets_all_output() {
        let (mut reader, writer) = io::pipe().unwrap();
        let file = Arc::new(File::from(OwnedFd::from(writer)));
        let mut opened = Opened::new(&file, false, Made::default());
        let read = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            let mut all = Vec::new();
            io::Read::read_to_end(&mut reader, &mut all).map(|_| all.len())
        });
        opened.write_all(&vec![b'a'; 1 << 20]).unwrap();
        drop((opened, file));
        assert_eq!(read.join().unwrap().unwrap(), 1 << 20);
    }
}
