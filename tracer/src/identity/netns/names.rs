//! The names of network namespaces for the length of a run.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Namespaces, NetnsId};

/// Names that are kept; the oldest goes first.
const CAPACITY: usize = 65_536;

/// Cookie → name, filled by a [`Watcher`](super::Watcher) while others ask. A name stays known when its file or its
/// namespace is gone, because drops are reported later than they happen. The first name of a namespace is the one it
/// keeps. Of a namespace without a cookie, the name is looked up by its inode number as of now.
#[derive(Debug)]
pub struct Names {
    table: Mutex<Table>,
    by_inode: Mutex<Namespaces>,
}

#[derive(Debug)]
struct Table {
    names: HashMap<NonZeroU64, Arc<str>>,
    /// The same cookies, oldest first.
    order: VecDeque<NonZeroU64>,
    capacity: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl Names {
    /// Without any name.
    pub fn new() -> Self {
        Self::with(CAPACITY, Namespaces::new())
    }

    pub(super) fn with(capacity: usize, by_inode: Namespaces) -> Self {
        let table = Table { names: HashMap::new(), order: VecDeque::new(), capacity };
        Self { table: Mutex::new(table), by_inode: Mutex::new(by_inode) }
    }

    /// The name under `/run/netns`; none for a namespace that never had one while it was watched, as those of most
    /// containers.
    pub fn name(&self, namespace: NetnsId) -> Option<Arc<str>> {
        match namespace.cookie {
            Some(cookie) => locked(&self.table).names.get(&cookie).map(Arc::clone),
            None => locked(&self.by_inode).name(namespace.inum),
        }
    }

    /// Notes a name, unless the namespace has one already.
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

    /// How many names are known by cookie.
    pub fn len(&self) -> usize {
        locked(&self.table).names.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a thread that panicked left is whole: no step of a change can fail.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
