//! Sample retransmissions.

use std::time::Duration;

use super::{NEW_YEAR, location, reason};
use crate::domain::retransmit::{Cause, DropsFollowed, Loss, RetransmitEvent, RetransmitLedger, RetransmitReport};

/// A retransmission after a drop.
pub(in crate::sink) fn retransmission() -> RetransmitEvent {
    RetransmitEvent {
        timestamp: NEW_YEAR,
        source: ([10, 0, 0, 1], 5000).into(),
        destination: ([10, 0, 0, 2], 80).into(),
        sequence: 77,
        length: 1448,
        segments: 1,
        loss: Loss::After(Cause {
            reason: reason(12, "core", "NETFILTER_DROP"),
            location: location("nf_hook_slow", 0xc5, None),
            before: Duration::from_micros(203_500),
        }),
    }
}

/// Retransmissions after drops by a filter, and without a drop.
pub(in crate::sink) fn retransmissions() -> RetransmitReport {
    let filter = DropsFollowed {
        reason: reason(12, "core", "NETFILTER_DROP"),
        location: location("nf_hook_slow", 0xc5, None),
        drops: 12,
        followed: 7,
        not_followed: 3,
    };
    let udp = DropsFollowed {
        reason: reason(6, "core", "SOCKET_RCVBUFF"),
        location: location("udp_queue_rcv_one_skb", 0x1a7, None),
        drops: 1_000,
        followed: 0,
        not_followed: 0,
    };
    let ledger = RetransmitLedger {
        retransmissions: 11,
        segments: 14,
        joined: 8,
        unmatched: 2,
        undecided: 1,
        lost: 0,
        drops_lost: 0,
    };
    RetransmitReport { ledger, sites: vec![filter, udp] }
}
