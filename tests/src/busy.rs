//! A listening socket that refuses connection requests.

use std::net::TcpListener;

use anyhow::Result;

use crate::case::drained;
use crate::netns::Resident;
use crate::tcp::{Peer, listener_with};
use crate::wire::Wire;

/// A host whose listening socket has a full accept queue.
#[derive(Debug)]
pub struct Busy {
    /// The host, and its peer.
    pub wire: Wire,
    /// A process in the host's namespace.
    pub resident: Resident,
    /// The socket.
    pub listener: TcpListener,
}

impl Busy {
    /// A host without other drops.
    pub fn new() -> Result<Self> {
        let wire = Wire::new()?;
        let resident = wire.host.resident()?;
        // A backlog of 1 has room for two connections (`sk_acceptq_is_full`, include/net/sock.h).
        let listener = listener_with(&wire.host, 1, |_| Ok(()))?;
        for port in [41_001, 41_002] {
            Peer::connect(&wire, port)?;
        }
        drained()?;
        Ok(Self { wire, resident, listener })
    }

    /// The inode number of the host's network namespace, for `--netns`.
    pub fn netns(&self) -> String {
        self.wire.host.inum().to_string()
    }
}
