//! The ledger of whose packets were dropped.

use serde::Serialize;

use super::event::NamedKey;
use super::total::{DropTotal, OverflowTotal};

/// What is known of the owner of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// The control group of the socket is known by its path.
    Attributed,
    /// There is a socket, and its control group is the root group, or unknown.
    Unknown,
    /// There is no socket.
    NoSocket,
    /// The drop is counted by reason only.
    NoRoom,
}

impl Attribution {
    /// What is known of the drops of a key.
    pub fn of(key: &NamedKey) -> Self {
        match (key.socket, &key.owner.cgroup) {
            (None, _) => Self::NoSocket,
            (Some(_), None) => Self::Unknown,
            (Some(_), Some(_)) => Self::Attributed,
        }
    }

    /// The name in JSON and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attributed => "attributed",
            Self::Unknown => "unknown",
            Self::NoSocket => "no_socket",
            Self::NoRoom => "no_room",
        }
    }
}

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
    /// Those of `no_socket` with a [`super::event::Residence`] in which a single container, or pod, lives. They are not a
    /// further part of the sum.
    pub resident: u64,
}

impl AttributionLedger {
    /// The ledger of these totals.
    pub fn of(drops: &[DropTotal], overflow: &[OverflowTotal]) -> Self {
        let mut ledger = Self::default();
        for total in drops {
            *ledger.part(Attribution::of(&total.key)) += total.packets;
            if total.key.residence.is_some() {
                ledger.resident += total.packets;
            }
        }
        ledger.no_room = overflow.iter().map(|total| total.packets).sum();
        ledger
    }

    fn part(&mut self, of: Attribution) -> &mut u64 {
        match of {
            Attribution::Attributed => &mut self.attributed,
            Attribution::Unknown => &mut self.unknown,
            Attribution::NoSocket => &mut self.no_socket,
            Attribution::NoRoom => &mut self.no_room,
        }
    }

    /// The four numbers, by what they count.
    pub const fn parts(&self) -> [(Attribution, u64); 4] {
        [
            (Attribution::Attributed, self.attributed),
            (Attribution::Unknown, self.unknown),
            (Attribution::NoSocket, self.no_socket),
            (Attribution::NoRoom, self.no_room),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::{Residence, Timestamp};
    use crate::domain::facts::Role;
    use crate::domain::owner::Owner;

    #[test]
    fn each_drop_counts_once() {
        let total = |socket, cgroup: Option<&str>, residence, packets| DropTotal {
            key: Arc::new(NamedKey {
                socket,
                residence,
                cgroup_id: 7,
                owner: Owner { cgroup: cgroup.map(Arc::from), ..Owner::default() }.into(),
                ..NamedKey::default()
            }),
            packets,
            bytes: None,
            first_seen: Timestamp(1),
            last_seen: Timestamp(2),
            seen_by: &[],
            more: 0,
        };
        let drops = [
            total(Some(Role::Receiver), Some("/a"), None, 1),
            total(Some(Role::Owner), None, None, 2),
            total(None, None, None, 4),
            total(None, Some("/b"), Some(Residence::Here), 16),
            total(None, Some("/c"), Some(Residence::Peer), 32),
        ];
        let overflow = [OverflowTotal { reason: None, packets: 8, bytes: None }];
        let expected = AttributionLedger { attributed: 1, unknown: 2, no_socket: 52, no_room: 8, resident: 48 };
        let ledger = AttributionLedger::of(&drops, &overflow);
        assert_eq!(ledger, expected);
        // The names are those of the members in JSON.
        let json = serde_json::to_value(ledger).unwrap();
        assert!(ledger.parts().iter().all(|(part, count)| json[part.name()] == *count), "{json}");
    }
}
