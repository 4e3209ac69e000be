//! The kernel's counters beside another backend: those of each network namespace with a process or a name, read by a thread of
//! their own after that backend has started, at an interval, and before it stops.
//!
//! The files are `/proc/PID/net/snmp`, `netstat` and `snmp6` of one process or thread of each namespace. Where a namespace
//! has no process, but a name or another file that stands for it, for the listening sockets, and for the interfaces, a thread
//! enters the namespace for one reading. So no namespace is kept alive. The receive queues of the processors belong to all
//! namespaces (`softnet`).

mod driver;
mod held;
mod links;
mod listeners;
mod namespace;
mod softnet;
mod state;
mod survey;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use rustix::thread::{MembarrierCommand, membarrier};
use tokio::sync::oneshot;

use crate::domain::reconciliation::{CpuRise, Interface, RefusingListener};
use crate::explain::Counters;
use crate::identity::proc_folder::Folder;
use crate::kernel::clock::thread_time;
use crate::kernel::privileges;
use state::State;
use values::Names;

/// The interval of the readings. It becomes longer if readings would take more than a hundredth of a processor.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of readings for which an endless run remembers namespaces and interfaces that are gone.
const READINGS_KEPT: u32 = 64;
const SHARE_OF_A_PROCESSOR: u32 = 100;

/// The rise of one counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the rise itself is one of the facts of a counter's rise")]
pub struct Rise {
    /// The counter's name, as `nstat` spells it.
    pub counter: Arc<str>,
    /// Inode number of the network namespace; 0 for a counter of the whole host.
    pub netns: u32,
    /// The number of the namespace among those that were read during the run, from 1: an inode number may stand for one namespace
    /// after another. 0 for a counter of the whole host.
    pub netns_number: u32,
    /// The name of the namespace under `/run/netns`, if it has one.
    pub netns_name: Option<Arc<str>>,
    /// For a counter of an interface, the interface.
    pub interface: Option<Interface>,
    /// The counter may count what other interfaces drop, so that it cannot be compared with the drops of this one.
    pub is_of_others: bool,
    /// For a counter that each processor has, the processors whose counter rose.
    pub cpus: Vec<CpuRise>,
    /// The rise from the first reading to the last.
    pub rise: u64,
    /// For `TcpExtListenDrops`, the listening sockets whose own counters rose, as far as they are known.
    pub listeners: Vec<RefusingListener>,
}

/// A counter: its name, its network namespace, and the index of its interface. The numbers are 0 for a counter that belongs to no
/// namespace or interface.
pub(crate) type Key = (Arc<str>, NetnsKey, u32);

/// A network namespace during a run: the inode number, and the number among those that were read ([`Rise::netns_number`]).
pub(crate) type NetnsKey = (u32, u32);

impl Rise {
    /// The counter.
    pub fn key(&self) -> Key {
        let ifindex = self.interface.as_ref().map_or(0, |interface| interface.ifindex);
        (Arc::clone(&self.counter), (self.netns, self.netns_number), ifindex)
    }
}

/// The counters that can be compared with drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// The number of these counters that the kernel has.
    pub(crate) found: usize,
    /// The number of all of them.
    pub(crate) compared: usize,
}

/// The counters that can be compared on this kernel; `None` if `/proc` is not readable.
pub(crate) fn coverage(counters: &Counters) -> Option<Coverage> {
    let folder = Folder::open(Path::new("/proc"), std::process::id())?;
    let values = Names::of(counters, Which::Compared).read(&folder, &mut Vec::new())?;
    Some(Coverage { found: values.iter().flatten().count(), compared: values.len() })
}

/// Which counters of the table are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those whose rise can be compared with drops.
    Compared,
    /// All.
    All,
}

/// How often the counters are read, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The interval of the readings, at least a second.
    interval: Duration,
    /// The run has no end: namespaces and interfaces that are gone are forgotten after some readings.
    is_endless: bool,
}

impl Default for Pace {
    /// Every second, for a run with an end.
    fn default() -> Self {
        Self { interval: INTERVAL, is_endless: false }
    }
}

impl Pace {
    /// The pace of a run without an end.
    #[cfg(feature = "agent")]
    pub(crate) fn endless(interval: Duration) -> Self {
        Self { interval: interval.max(INTERVAL), is_endless: true }
    }
}

/// What the readings show so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// The number of readings so far.
    pub number: u32,
    /// The counters that rose between the first reading and the last.
    pub rises: Vec<Rise>,
    /// The number of namespaces that were read twice or more.
    pub namespaces: u32,
    /// What was not read or cannot be compared, in sentences without a full stop.
    pub gaps: Vec<String>,
    /// The namespaces that the last reading read.
    pub read: Vec<NetnsKey>,
    /// The names of the namespaces that were read, as far as they have any.
    pub names: BTreeMap<NetnsKey, Arc<str>>,
    /// The interfaces that the last reading read in these namespaces: the namespace and the index.
    pub interfaces: BTreeSet<(NetnsKey, u32)>,
    /// The counters that the kernel has, of those that are read.
    pub present: Vec<Arc<str>>,
    /// Counters of interfaces that were once less than before: their rise is at least the one that is known.
    pub fallen: Vec<Key>,
    /// The inode numbers of the namespaces that were read, or of which `gaps` say that they were not.
    pub mentioned: Vec<u32>,
}

/// The thread that reads the counters. It ends with this value.
#[derive(Debug)]
pub(crate) struct CountersBeside {
    latest: Arc<Mutex<Arc<Readings>>>,
    ask: Sender<oneshot::Sender<()>>,
}

impl CountersBeside {
    /// Starts the thread, which keeps those of the calling thread's capabilities that it needs
    /// ([`privileges::COUNTERS`]): give up the unneeded ones afterwards. `only` is the inode number of the one namespace to
    /// read; absent for all. `which` counters of the table to read, and at which `pace`.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub(crate) fn start(counters: &Counters, which: Which, only: Option<u32>, pace: Pace) -> io::Result<Self> {
        let names = Names::of(counters, which);
        let state = State::new(PathBuf::from("/proc"), names, only, pace.is_endless);
        let latest = Arc::<Mutex<Arc<Readings>>>::default();
        let (ask, asked) = channel();
        let shared = Arc::clone(&latest);
        Builder::new().name("counters".into()).spawn(move || run(state, pace.interval, &shared, &asked))?;
        Ok(Self { latest, ask })
    }

    /// Asks for a reading. The receiver gets an answer, or an error, once the reading is done and each packet that the
    /// kernel had counted by then has also been freed.
    pub(crate) fn reading(&self) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        // If the thread has panicked, the answer is dropped, which the receiver sees.
        let _ = self.ask.send(done);
        is_done
    }

    /// What the readings show so far. The caller does not wait for a reading.
    pub(crate) fn latest(&self) -> Arc<Readings> {
        Arc::clone(&locked(&self.latest))
    }
}

fn run(mut state: State, usual: Duration, latest: &Mutex<Arc<Readings>>, asked: &Receiver<oneshot::Sender<()>>) {
    if let Err(error) = privileges::drop_unneeded(privileges::COUNTERS) {
        tracing::warn!("the thread that reads the kernel's counters cannot drop capabilities: {error}");
    }
    let mut interval = usual;
    loop {
        let done = match asked.recv_timeout(interval) {
            Ok(done) => Some(done),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let before = thread_time();
        state.read();
        let readings = state.readings();
        let taken = thread_time().saturating_sub(before) + state.elsewhere;
        tracing::debug!("a reading of the counters took {taken:?} of CPU time");
        interval = usual.max(taken.saturating_mul(SHARE_OF_A_PROCESSOR));
        // The kernel counts a packet and then frees it, within one RCU read section. This command is `synchronize_rcu`
        // (`kernel/sched/membarrier.c`); without it, the two are a few instructions apart.
        let _ = membarrier(MembarrierCommand::Global);
        *locked(latest) = Arc::new(readings);
        if let Some(done) = done {
            // The receiver may be gone.
            let _ = done.send(());
        }
    }
}

/// Locks the mutex even after a thread panicked: the readings before are still true.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
