//! The names of network namespaces during a run.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Namespaces, NetnsId};

/// The greatest number of names; the oldest one is removed first.
const CAPACITY: usize = 65_536;

/// Maps cookies to names. A `Watcher` adds names while others look them up. A name stays known after
/// its file or its namespace is gone, because drops are reported later than they happen. A namespace keeps its first
/// name. The name of a namespace without a cookie is looked up by its inode number at the time of the call.
#[derive(Debug)]
pub struct Names {
    table: Mutex<Table>,
    by_inode: Mutex<Namespaces>,
}

#[derive(Debug)]
struct Table {
    names: HashMap<NonZeroU64, Arc<str>>,
    /// The same cookies, the oldest first.
    order: VecDeque<NonZeroU64>,
    capacity: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl Names {
    /// A map without any name.
    pub fn new() -> Self {
        Self::with(CAPACITY, Namespaces::new())
    }

    pub(super) fn with(capacity: usize, by_inode: Namespaces) -> Self {
        let table = Table { names: HashMap::new(), order: VecDeque::new(), capacity };
        Self { table: Mutex::new(table), by_inode: Mutex::new(by_inode) }
    }

    /// The name under `/run/netns`. It is absent for a namespace that had no name while the folders were watched, such
    /// as those of most containers.
    pub fn name(&self, namespace: NetnsId) -> Option<Arc<str>> {
        match namespace.cookie {
            Some(cookie) => locked(&self.table).names.get(&cookie).map(Arc::clone),
            None => locked(&self.by_inode).name(namespace.inum),
        }
    }

    /// Notes a name, unless the namespace already has one.
    pub fn record(&self, cookie: NonZeroU64, name: &str) {
        let mut table = locked(&self.table);
        if table.names.contains_key(&cookie) {
            return;
        }
        while table.order.len() >= table.capacity.max(1) {
            let Some(oldest) = table.order.pop_front() else { break };
            table.names.remove(&oldest);
        }
        table.order.push_back(cookie);
        table.names.insert(cookie, name.into());
    }

    /// The number of names that are known by cookie.
    pub fn len(&self) -> usize {
        locked(&self.table).names.len()
    }

    /// Returns whether no name is known by cookie.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Locks the mutex even after a thread panicked, because no step of a change can fail halfway.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
