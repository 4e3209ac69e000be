//! A thread that notes the names of namespaces as they appear.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::folder::Folders;
use super::{FOLDERS, Identify, Names};
use crate::kernel::clock::thread_time;

/// The interval at which the folders are read, to find changes without an event. It becomes longer if the readings
/// would take more than a hundredth of a processor, as with ten thousand names.
const READ_INTERVAL: Duration = Duration::from_secs(1);
const SHARE_OF_A_PROCESSOR: u32 = 100;
/// The size in bytes of the buffer for events. An event with the longest name takes 272 bytes.
const EVENTS: usize = 4096;

/// Notes the names under `/run/netns` in [`Names`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Readable when the thread must end.
    stop: Arc<OwnedFd>,
}

impl Watcher {
    /// Starts the thread, which has the capabilities of the calling thread: give up the unneeded ones before. Existing
    /// names are known soon after the start.
    ///
    /// # Errors
    /// Those of `eventfd` and of starting a thread. If inotify is not available, the folders are only read at an
    /// interval.
    pub(crate) fn start(names: Arc<Names>, identify: impl Identify + Send + 'static) -> io::Result<Self> {
        Self::of(FOLDERS.map(PathBuf::from).to_vec(), READ_INTERVAL, names, identify)
    }

    pub(super) fn of(
        folders: Vec<PathBuf>,
        interval: Duration,
        names: Arc<Names>,
        identify: impl Identify + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let stopped = Arc::clone(&stop);
        let folders = Folders::new(folders, identify);
        Builder::new().name("netns-names".into()).spawn(move || Watch { folders, interval, names, stopped }.run())?;
        Ok(Self { stop })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A counter that was never written accepts a 1. The thread ends by itself, and dropping the watcher does not
        // wait for it.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

struct Watch<I> {
    folders: Folders<I>,
    interval: Duration,
    names: Arc<Names>,
    stopped: Arc<OwnedFd>,
}

impl<I: Identify> Watch<I> {
    fn run(mut self) {
        let mut events = Events::new();
        let mut next_reading = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_reading {
                // The watches come first, so that both the watch and the reading show a file that appears in between.
                events.watch(self.folders.paths());
                let before = thread_time();
                self.folders.read(&self.names);
                let taken = thread_time().saturating_sub(before);
                next_reading = now + self.interval.max(taken.saturating_mul(SHARE_OF_A_PROCESSOR));
            }
            self.folders.look_again(&self.names, now);
            let until = self.folders.next_look().map_or(next_reading, |look| look.min(next_reading));
            match wait(&self.stopped, events.descriptor(), until.saturating_duration_since(Instant::now())) {
                Ok(Wake::Stopped) => return,
                Ok(Wake::Time) | Err(Errno::INTR) => {}
                Ok(Wake::Events) => {
                    if self.take(&mut events) {
                        next_reading = Instant::now();
                    }
                }
                Err(error) => {
                    tracing::warn!("names of network namespaces are watched no longer: {error}");
                    return;
                }
            }
        }
    }

    /// Handles the events. Returns whether the folders must be read, because a folder is new or events were lost.
    fn take(&mut self, events: &mut Events) -> bool {
        let mut must_read = false;
        events.take(|change| match change {
            Change::Appeared(folder, name) => self.folders.appeared(folder, name, &self.names, Instant::now()),
            Change::Disappeared(folder, name) => self.folders.disappeared(folder, name),
            Change::Unknown => must_read = true,
        });
        must_read
    }
}

#[derive(Debug)]
enum Wake {
    Stopped,
    Events,
    Time,
}

fn wait(stopped: &OwnedFd, events: Option<&OwnedFd>, time: Duration) -> Result<Wake, Errno> {
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    let stop = PollFd::new(stopped, PollFlags::IN);
    match events {
        None => {
            let mut files = [stop];
            poll(&mut files, Some(&time))?;
            Ok(if files[0].revents().is_empty() { Wake::Time } else { Wake::Stopped })
        }
        Some(events) => {
            let mut files = [stop, PollFd::new(events, PollFlags::IN)];
            poll(&mut files, Some(&time))?;
            Ok(match (files[0].revents().is_empty(), files[1].revents().is_empty()) {
                (false, _) => Wake::Stopped,
                (true, false) => Wake::Events,
                (true, true) => Wake::Time,
            })
        }
    }
}

/// A change in a folder.
enum Change<'e> {
    Appeared(&'e Path, &'e OsStr),
    Disappeared(&'e Path, &'e OsStr),
    /// A change that only a reading of the folders can show.
    Unknown,
}

/// The events of inotify, if it is available.
struct Events {
    inotify: Option<OwnedFd>,
    /// The watch descriptors of folders of names.
    folders: Vec<(i32, PathBuf)>,
    /// The watch descriptors of the parents of folders that do not exist yet, with the name of the expected folder.
    parents: Vec<(i32, OsString)>,
}

impl Events {
    fn new() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .inspect_err(|error| tracing::debug!("inotify: {error}; folders of namespaces are read at an interval"));
        Self { inotify: inotify.ok(), folders: Vec::new(), parents: Vec::new() }
    }

    fn descriptor(&self) -> Option<&OwnedFd> {
        self.inotify.as_ref()
    }

    /// Watches each folder, or its parent if the folder does not exist. Watching a folder again changes nothing.
    fn watch(&mut self, folders: &[PathBuf]) {
        let Some(inotify) = &self.inotify else { return };
        let appear = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let changes = appear | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        let mut parents = Vec::new();
        self.folders.clear();
        for folder in folders {
            // If two folders are the same, they have the same descriptor, and the first path counts.
            if let Ok(watch) = inotify::add_watch(inotify, folder, changes) {
                self.folders.push((watch, folder.clone()));
            } else if let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) {
                let watch = inotify::add_watch(inotify, parent, appear);
                parents.extend(watch.map(|watch| (watch, name.to_owned())));
            }
        }
        for (watch, _) in self.parents.iter().filter(|(watch, _)| parents.iter().all(|(kept, _)| kept != watch)) {
            // This fails if the parent is gone, because its watch is gone too.
            let _ = inotify::remove_watch(inotify, *watch);
        }
        self.parents = parents;
    }

    /// Passes the events of one reading to `change`. The next call reads the events that arrive in the meantime.
    fn take(&mut self, mut change: impl FnMut(Change<'_>)) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut reader = inotify::Reader::new(inotify.as_fd(), &mut buffer);
        while let Ok(event) = reader.next() {
            let folder = self.folders.iter().find(|(watch, _)| *watch == event.wd());
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            match (folder, name) {
                (Some((_, folder)), Some(name)) => {
                    let is_new = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                    change(if is_new { Change::Appeared(folder, name) } else { Change::Disappeared(folder, name) });
                }
                // In a parent, only the name of the expected folder matters.
                (None, Some(name)) if self.parents.iter().all(|(_, awaited)| awaited != name) => {}
                _ => change(Change::Unknown),
            }
            if reader.is_buffer_empty() {
                return;
            }
        }
    }
}
