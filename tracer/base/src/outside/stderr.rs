//! Writes to stderr without blocking: a run must not stop because nobody reads its messages.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A pipe with any free space takes this many bytes at once (`PIPE_BUF`, `pipe(7)`).
const PIECE: usize = 4096;
/// Time that a message waits for a slow reader. Messages after one that was left out do not wait.
const PATIENCE: Duration = Duration::from_millis(100);

/// Messages that were left out, in whole or in part, since the last one that was written.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Most bytes of messages that are held.
const MOST_HELD: usize = 64 * 1024;

/// Messages that wait; present while they are held.
static HELD: Mutex<Option<String>> = Mutex::new(None);

/// Holds further messages until [`release_messages`]: they would disturb a screen on the same terminal. Messages that have no
/// room are left out, as if nobody read stderr.
pub fn hold_messages() {
    held().get_or_insert_default();
}

/// Writes the messages that were held, and holds no more.
pub fn release_messages() {
    let messages = held().take().unwrap_or_default();
    if !messages.is_empty() {
        write(&messages);
    }
}

fn held() -> MutexGuard<'static, Option<String>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a message for later. Returns whether messages are held.
fn hold(held: &mut Option<String>, left_out: &AtomicU64, message: &str) -> bool {
    let Some(held) = held else { return false };
    if held.len() + message.len() <= MOST_HELD {
        held.push_str(message);
    } else {
        left_out.fetch_add(1, Ordering::Relaxed);
    }
    true
}

/// Writes a message, or leaves it out if stderr has no room. The next message that is written reports how many were left
/// out.
pub(super) fn write(message: &str) {
    if hold(&mut held(), &LEFT_OUT, message) {
        return;
    }
    // One thread at a time: what has room for one message may have none for two.
    write_to(io::stderr().lock().as_fd(), &LEFT_OUT, message);
}

fn write_to(file: BorrowedFd<'_>, left_out: &AtomicU64, message: &str) {
    let missing = left_out.swap(0, Ordering::Relaxed);
    let patience = if missing == 0 { PATIENCE } else { Duration::ZERO };
    let note = format!("[{missing} messages are missing here: nobody read stderr]\n");
    let note = if missing == 0 { "" } else { &note };
    if !write_all(file, note, patience) {
        left_out.fetch_add(missing + 1, Ordering::Relaxed);
    } else if !write_all(file, message, PATIENCE) {
        left_out.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes a text, and waits `patience` for room. Returns whether there was room for all of it; an error on stderr cannot be
/// reported anywhere, and leaves nothing to wait for.
fn write_all(file: BorrowedFd<'_>, text: &str, patience: Duration) -> bool {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        if !has_room(file, patience) {
            return false;
        }
        match rustix::io::write(file, &rest[..rest.len().min(PIECE)]) {
            Ok(written) => rest = &rest[written..],
            // A descriptor that does not block may have lost its room to another process.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return true,
        }
    }
    true
}

/// Whether a write of a piece returns at once; also true if the write would fail at once.
fn has_room(file: BorrowedFd<'_>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&left)) {
            // A signal came, after which a write might block.
            Err(Errno::INTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => return true,
        }
    }
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
    fn a_message_that_is_cut_counts_as_missing() {
        // More than a pipe holds by default, 16 pages.
        let (mut reader, writer) = io::pipe().unwrap();
        let (left_out, message) = (AtomicU64::new(0), "x".repeat(1 << 20));
        write_to(writer.as_fd(), &left_out, &message);
        assert_eq!(left_out.load(Ordering::Relaxed), 1);
        drop(writer);
        let mut written = String::new();
        assert!(reader.read_to_string(&mut written).unwrap() < message.len());
    }

    #[test]
    fn held_messages_have_a_bound() {
        let (left_out, mut held) = (AtomicU64::new(0), None);
        assert!(!hold(&mut held, &left_out, "at once\n"));
        held = Some(String::new());
        assert!(hold(&mut held, &left_out, "later\n") && hold(&mut held, &left_out, &"x".repeat(MOST_HELD)));
        assert_eq!((held.as_deref(), left_out.load(Ordering::Relaxed)), (Some("later\n"), 1));
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
