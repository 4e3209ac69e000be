//! The listening sockets of one network namespace whose own counters of drops rose.

use std::collections::HashMap;
use std::path::Path;

use crate::domain::reconciliation::{ListenerProcess, RefusingListener};
use crate::identity::process::{Bounds, find};
use crate::netlink::TcpListener;

/// The greatest number of sockets of a namespace whose rise is kept.
const MOST_LISTENERS: usize = 64;
/// The number of searches for the process of a socket.
const SEARCHES: u32 = 3;

/// The drops of the sockets from the first reading to the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    /// The drops at the first reading, by the socket's cookie. Absent are sockets without drops, and later ones.
    first: HashMap<u64, u32>,
    risen: HashMap<u64, Risen>,
}

#[derive(Clone, Debug)]
struct Risen {
    inode: u64,
    searches: u32,
    listener: RefusingListener,
}

impl Listeners {
    /// Takes the first reading.
    pub(super) fn new(found: &[TcpListener]) -> Self {
        let with_drops = found.iter().filter(|socket| socket.drops > 0);
        Self { first: with_drops.map(|socket| (socket.cookie, socket.drops)).collect(), risen: HashMap::new() }
    }

    /// Takes a later reading. A socket that is gone keeps its rise.
    pub(super) fn read(&mut self, proc: &Path, found: &[TcpListener]) {
        for socket in found {
            let first = self.first.get(&socket.cookie).copied().unwrap_or_default();
            let drops = socket.drops.wrapping_sub(first).into();
            if let Some(risen) = self.risen.get_mut(&socket.cookie) {
                risen.listener.drops = drops;
            } else if drops > 0 && self.risen.len() < MOST_LISTENERS {
                let listener = RefusingListener { address: socket.address, drops, process: None };
                self.risen.insert(socket.cookie, Risen { inode: socket.inode, searches: 0, listener });
            }
        }
        self.search(proc);
    }

    /// Searches for the processes of the sockets that have none yet.
    fn search(&mut self, proc: &Path) {
        let is_wanted = |risen: &&mut Risen| risen.listener.process.is_none() && risen.searches < SEARCHES;
        let mut wanted: Vec<_> = self.risen.values_mut().filter(is_wanted).collect();
        let found = find(proc, wanted.iter().map(|risen| risen.inode), Bounds::default());
        for risen in &mut wanted {
            risen.searches += 1;
            let process = found.by_inode.get(&risen.inode).map(|holder| &holder.process);
            risen.listener.process =
                process.map(|process| ListenerProcess { pid: process.pid, comm: process.comm.clone() });
        }
    }

    /// The sockets whose counters rose, the greatest rise first.
    pub(super) fn risen(&self) -> Vec<RefusingListener> {
        let mut risen: Vec<_> = self.risen.values().map(|risen| risen.listener.clone()).collect();
        risen.sort_by(|one, other| other.drops.cmp(&one.drops).then(one.address.cmp(&other.address)));
        risen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(cookie: u64, drops: u32) -> TcpListener {
        let address = format!("10.0.0.2:{cookie}").parse().unwrap();
        TcpListener { address, cookie, inode: cookie, drops }
    }

    #[test]
    fn rise_is_that_of_each_socket_since_the_first_reading() {
        let (nowhere, mut listeners) =
            (Path::new("/nowhere"), Listeners::new(&[socket(1, 7), socket(2, 0), socket(3, u32::MAX)]));
        assert_eq!(listeners.risen(), []);
        listeners.read(nowhere, &[socket(1, 7), socket(2, 4), socket(3, 1), socket(4, 9)]);
        // The second socket is closed.
        listeners.read(nowhere, &[socket(1, 8), socket(3, 2), socket(4, 9)]);
        let risen: Vec<_> =
            listeners.risen().iter().map(|listener| (listener.address.port(), listener.drops)).collect();
        assert_eq!(risen, [(4, 9), (2, 4), (3, 3), (1, 1)]);
    }
}
