//! The ledger of whose packets were dropped.

use serde::Serialize;

use super::total::{DropTotal, OverflowTotal};

/// All counted drops, by what is known of their owners: the sum of the four numbers is the number of counted drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttributionLedger {
    /// Drops with a control group of their socket.
    pub attributed: u64,
    /// Drops with a socket whose control group is unknown or the root group.
    pub unknown: u64,
    /// Drops without a socket, such as forwarded packets and packets that no socket was found for.
    pub no_socket: u64,
    /// Drops that are counted by reason only, because their key found no room.
    pub no_room: u64,
}

impl AttributionLedger {
    /// The ledger of these totals.
    pub fn of(drops: &[DropTotal], overflow: &[OverflowTotal]) -> Self {
        let mut ledger = Self::default();
        for total in drops {
            let part = match (total.key.socket, total.key.cgroup_id) {
                (None, _) => &mut ledger.no_socket,
                (Some(_), 0) => &mut ledger.unknown,
                (Some(_), _) => &mut ledger.attributed,
            };
            *part += total.packets;
        }
        ledger.no_room = overflow.iter().map(|total| total.packets).sum();
        ledger
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::{NamedKey, Timestamp};
    use crate::domain::facts::Role;

    #[test]
    fn each_drop_counts_once() {
        let total = |socket, cgroup_id, packets| DropTotal {
            key: Arc::new(NamedKey { socket, cgroup_id, ..NamedKey::default() }),
            packets,
            bytes: None,
            first_seen: Timestamp(1),
            last_seen: Timestamp(2),
            seen_by: &[],
        };
        let drops = [total(Some(Role::Receiver), 7, 1), total(Some(Role::Owner), 0, 2), total(None, 0, 4)];
        let overflow = [OverflowTotal { reason: None, packets: 8, bytes: None }];
        let expected = AttributionLedger { attributed: 1, unknown: 2, no_socket: 4, no_room: 8 };
        assert_eq!(AttributionLedger::of(&drops, &overflow), expected);
    }
}
