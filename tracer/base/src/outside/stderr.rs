//! Writes to stderr without blocking: a run must not stop because nobody reads its messages any more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A pipe with any room takes so many bytes at once (`PIPE_BUF`, `pipe(7)`).
const PIECE: usize = 4096;
/// Time that a message waits for a slow reader. Messages after one that was left out do not wait.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Messages that were left out since the last one that was written.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Writes a message, or leaves it out if stderr has no room. The next message that is written reports how many were left
/// out.
pub(super) fn write(message: &str) {
    write_to(io::stderr().as_fd(), &LEFT_OUT, message);
}

fn write_to(file: BorrowedFd<'_>, left_out: &AtomicU64, message: &str) {
    let before = left_out.load(Ordering::Relaxed);
    let patience = if before == 0 { PATIENCE } else { NO_TIME };
    if !has_room(file, patience) {
        left_out.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if before > 0 {
        left_out.fetch_sub(before, Ordering::Relaxed);
        let note = format!("[{before} messages are missing here: nobody read stderr]\n");
        // An error on stderr cannot be reported anywhere.
        _ = rustix::io::write(file, note.as_bytes());
    }
    for piece in message.as_bytes().chunks(PIECE) {
        if !has_room(file, PATIENCE) || rustix::io::write(file, piece).is_err() {
            return;
        }
    }
}

/// Whether a write of a piece returns at once; also true if the write would fail at once.
fn has_room(file: BorrowedFd<'_>, patience: Timespec) -> bool {
    let mut files = [PollFd::new(&file, PollFlags::OUT)];
    poll(&mut files, Some(&patience)).map_or(true, |ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_leaves_messages_out_and_says_so_later() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (left_out, message) = (AtomicU64::new(0), format!("{}\n", "x".repeat(9_999)));
        for _ in 0..20 {
            write_to(writer.as_fd(), &left_out, &message);
        }
        let missing = left_out.load(Ordering::Relaxed);
        assert!((5..20).contains(&missing), "{missing}");
        let mut written = vec![0; 1 << 20];
        let length = reader.read(&mut written).unwrap();
        assert!(length > 10_000);
        write_to(writer.as_fd(), &left_out, "read again\n");
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(
            rest.ends_with(&format!("[{missing} messages are missing here: nobody read stderr]\nread again\n")),
            "{rest}"
        );
        assert_eq!(left_out.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_reader_that_is_gone_is_no_obstacle() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let left_out = AtomicU64::new(0);
        write_to(writer.as_fd(), &left_out, "nobody reads this\n");
        assert_eq!(left_out.load(Ordering::Relaxed), 0);
    }
}
