//! Retransmissions of TCP, and the drops on this host that they follow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Location, Reason, Timestamp};

/// The account of retransmissions: `retransmissions = joined + unmatched + lost`, once all records are read.
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
    /// Retransmissions without a record: the ring buffer was full, the BPF program was running already on that CPU, or the record
    /// could not be decoded.
    pub lost: u64,
    /// Drops of TCP without a record, because the ring buffer was full. A retransmission after such a drop is unmatched.
    pub drops_lost: u64,
}

impl RetransmitLedger {
    /// Retransmissions in no other term: those whose records are still to be read. Less than 0 is a fault of droptrace.
    pub fn pending(&self) -> i64 {
        let terms = self.joined.saturating_add(self.unmatched).saturating_add(self.lost);
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
    /// Drops of TCP segments of which no byte was sent again up to now.
    pub not_followed: u64,
}

impl DropsFollowed {
    /// Drops of which this cannot be known: packets that are not TCP, or have no sequence numbers of their own (a bare
    /// acknowledgement), headers that could not be read, lost records, segments that found no room in the table of drops, and
    /// reasons that do not lose the segment.
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
    pub places: Vec<DropsFollowed>,
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
    /// The last drop of one of these bytes on this host; absent if none is known.
    pub cause: Option<Cause>,
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
        let ledger = RetransmitLedger { retransmissions: 9, joined: 3, unmatched: 2, lost: 1, ..Default::default() };
        assert_eq!(ledger.pending(), 3);
        assert_eq!(RetransmitLedger { joined: 10, ..ledger }.pending(), -4);
    }

    #[test]
    fn drops_that_are_neither_are_unknown() {
        let NamedKey { reason, location, .. } = NamedKey::default();
        let place = DropsFollowed { reason, location, drops: 10, followed: 4, not_followed: 1 };
        assert_eq!(place.unknown(), 5);
        // Records may be read before the counts that include their drops.
        assert_eq!(DropsFollowed { drops: 3, ..place }.unknown(), 0);
    }
}
