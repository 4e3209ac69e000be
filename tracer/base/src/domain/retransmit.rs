//! Retransmissions of TCP, and the drops on this host that they follow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Location, Reason, Timestamp};

/// The account of retransmissions: `retransmissions = joined + unmatched + undecided + lost`, once all records are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetransmitLedger {
    /// Retransmissions that the kernel reported. Each is one buffer, which may be several packets on the wire.
    pub retransmissions: u64,
    /// The packets on the wire in them, as the counter `TcpRetransSegs` counts them.
    pub segments: u64,
    /// Retransmissions of bytes that were dropped on this host before.
    pub joined: u64,
    /// Retransmissions of bytes of which no drop on this host is known.
    pub unmatched: u64,
    /// Retransmissions of which cannot be known whether their bytes were dropped on this host before.
    pub undecided: u64,
    /// Retransmissions without a record: the ring buffer was full, the BPF program was running already on that CPU, or the record
    /// could not be decoded.
    pub lost: u64,
    /// Drops of TCP without a record, because the ring buffer was full. A retransmission after such a drop is unmatched.
    pub drops_lost: u64,
}

impl RetransmitLedger {
    /// Retransmissions in no other term: those whose records are still to be read. Less than 0 is a fault of droptrace.
    pub fn pending(&self) -> i64 {
        let decided = self.joined.saturating_add(self.unmatched);
        let terms = decided.saturating_add(self.undecided).saturating_add(self.lost);
        self.retransmissions.cast_signed().saturating_sub(terms.cast_signed())
    }
}

/// The drops at one drop site with one reason, by what is known of the segments in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropsFollowed {
    /// The drop reason.
    pub reason: Arc<Reason>,
    /// The drop site.
    pub location: Arc<Location>,
    /// All drops there.
    pub drops: u64,
    /// Drops of TCP segments of which at least one byte was sent again afterwards.
    pub followed: u64,
    /// Drops of TCP segments of which no byte was sent again up to now, although the socket that sends on this connection is on
    /// this host, and did send others again.
    pub not_followed: u64,
}

impl DropsFollowed {
    /// Drops of which this cannot be known: packets that are not TCP, or have no sequence numbers of their own (a bare
    /// acknowledgement), headers that could not be read, lost records, segments that found no room in the table of drops,
    /// segments of senders that may be elsewhere or have other addresses, and reasons that do not lose the segment.
    pub const fn unknown(&self) -> u64 {
        self.drops.saturating_sub(self.followed).saturating_sub(self.not_followed)
    }
}

/// Retransmissions and drops since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetransmitReport {
    /// The account of retransmissions.
    pub ledger: RetransmitLedger,
    /// By drop site and reason, those with the most drops that were followed first.
    pub sites: Vec<DropsFollowed>,
}

/// One retransmission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetransmitEvent {
    /// When the segment was sent again.
    pub timestamp: Timestamp,
    /// The socket that sent it.
    pub source: SocketAddr,
    /// Its peer.
    pub destination: SocketAddr,
    /// The first sequence number.
    pub sequence: u32,
    /// Sequence numbers: payload bytes, and one each for SYN and FIN.
    pub length: u32,
    /// Packets on the wire.
    pub segments: u32,
    /// What is known of drops of its bytes.
    pub loss: Loss,
}

/// What is known of drops of a retransmission's bytes on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The last drop of one of the bytes.
    After(Cause),
    /// No drop is known.
    Unmatched,
    /// This cannot be known.
    Undecided(Doubt),
}

/// Why it cannot be known whether a retransmission follows a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A drop of the bytes is not older than the sending, as far as the socket's own clock (`tcp_sock.tcp_clock_cache`) shows: it may
    /// be the cause, or the drop of what was sent again.
    DroppedWhileSending,
    /// Sockets of two namespaces sent again with the same addresses and ports.
    TwoNamespaces,
    /// Drops of the last 120 seconds had to leave the table.
    Forgotten,
}

impl Doubt {
    /// The word for it in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DroppedWhileSending => "dropped_while_sending",
            Self::TwoNamespaces => "two_namespaces",
            Self::Forgotten => "table_full",
        }
    }
}

/// The drop that a retransmission follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The drop reason.
    pub reason: Arc<Reason>,
    /// The drop site.
    pub location: Arc<Location>,
    /// Time from the drop to the retransmission.
    pub before: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::NamedKey;

    #[test]
    fn what_is_in_no_term_is_pending() {
        let ledger = RetransmitLedger {
            retransmissions: 9,
            joined: 3,
            unmatched: 1,
            undecided: 1,
            lost: 1,
            ..Default::default()
        };
        assert_eq!(ledger.pending(), 3);
        assert_eq!(RetransmitLedger { joined: 10, ..ledger }.pending(), -4);
    }

    #[test]
    fn drops_that_are_neither_are_unknown() {
        let NamedKey { reason, location, .. } = NamedKey::default();
        let site = DropsFollowed { reason, location, drops: 10, followed: 4, not_followed: 1 };
        assert_eq!(site.unknown(), 5);
        // Records may be read before the counts that include their drops.
        assert_eq!(DropsFollowed { drops: 3, ..site }.unknown(), 0);
    }
}
