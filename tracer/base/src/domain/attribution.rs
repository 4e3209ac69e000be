//! The ledger of whose packets were dropped.

use serde::Serialize;

use super::total::{DropTotal, OverflowTotal};

/// All counted drops, by what is known of their owners: the sum of the first four numbers is the number of counted drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttributionLedger {
    /// Drops with the control group of their socket, by its path.
    pub attributed: u64,
    /// Drops with a socket whose control group is the root group, or unknown: it ended before it was looked up, for
    /// example.
    pub unknown: u64,
    /// Drops without a socket, such as forwarded packets and packets that no socket was found for.
    pub no_socket: u64,
    /// Drops that are counted by reason only, because their key found no room.
    pub no_room: u64,
    /// Those of `no_socket` in a network namespace in which a single container, or pod, lives. They are not a further
    /// part of the sum.
    pub resident: u64,
}

impl AttributionLedger {
    /// The ledger of these totals.
    pub fn of(drops: &[DropTotal], overflow: &[OverflowTotal]) -> Self {
        let mut ledger = Self::default();
        for total in drops {
            let part = match (total.key.socket, &total.key.owner.cgroup) {
                (None, _) => &mut ledger.no_socket,
                (Some(_), None) => &mut ledger.unknown,
                (Some(_), Some(_)) => &mut ledger.attributed,
            };
            *part += total.packets;
            if total.key.socket.is_none() && total.key.is_resident {
                ledger.resident += total.packets;
            }
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
    use crate::domain::owner::Owner;

    #[test]
    fn each_drop_counts_once() {
        let total = |socket, cgroup: Option<&str>, is_resident, packets| DropTotal {
            key: Arc::new(NamedKey {
                socket,
                is_resident,
                cgroup_id: 7,
                owner: Owner { cgroup: cgroup.map(Arc::from), ..Owner::default() }.into(),
                ..NamedKey::default()
            }),
            packets,
            bytes: None,
            first_seen: Timestamp(1),
            last_seen: Timestamp(2),
            seen_by: &[],
        };
        let drops = [
            total(Some(Role::Receiver), Some("/a"), false, 1),
            total(Some(Role::Owner), None, false, 2),
            total(None, None, false, 4),
            total(None, Some("/b"), true, 16),
        ];
        let overflow = [OverflowTotal { reason: None, packets: 8, bytes: None }];
        let expected = AttributionLedger { attributed: 1, unknown: 2, no_socket: 20, no_room: 8, resident: 16 };
        assert_eq!(AttributionLedger::of(&drops, &overflow), expected);
    }
}
