//! The last packets of each aggregation key.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::domain::event::{DropEvent, NamedKey, PacketStart, Timestamp};
use crate::domain::facts::VlanTag;
use crate::domain::identity::Identity;
use crate::packet::decode;
use crate::render::time::TimeText;
use crate::sink::packet_sentence;

/// Leading bytes of packets that are kept, which is enough for their headers.
pub(crate) const BYTES: usize = 128;
/// Packets that are kept of each key.
const PER_KEY: usize = 4;
/// Keys of which packets are kept.
const KEYS: usize = 4_096;

/// One packet.
#[derive(Clone, Debug)]
struct Packet {
    timestamp: Timestamp,
    length: u32,
    start: PacketStart,
    vlan: Option<VlanTag>,
    bytes: [u8; BYTES],
    captured: usize,
}

/// The last packets of the keys that were dropped first; keys beyond [`KEYS`] have none.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    packets: HashMap<Identity, VecDeque<Packet>, RandomState>,
}

impl Recent {
    /// Keeps a packet.
    pub(crate) fn add(&mut self, event: &DropEvent<'_>) {
        let identity = Identity::from(&**event.key);
        if self.packets.len() >= KEYS && !self.packets.contains_key(&identity) {
            return;
        }
        let captured = event.bytes.len().min(BYTES);
        let mut bytes = [0; BYTES];
        bytes[..captured].copy_from_slice(&event.bytes[..captured]);
        let DropEvent { timestamp, length, start, .. } = *event;
        let packets = self.packets.entry(identity).or_insert_with(|| VecDeque::with_capacity(PER_KEY));
        if packets.len() == PER_KEY {
            packets.pop_front();
        }
        packets.push_back(Packet { timestamp, length, start, vlan: event.facts.vlan, bytes, captured });
    }

    /// The last packets of some keys, the latest first: the time of day in UTC and the packet as tcpdump writes it.
    pub(crate) fn lines<'k>(&self, keys: impl IntoIterator<Item = &'k NamedKey>, most: usize) -> Vec<String> {
        let of_key = |key: &'k NamedKey| {
            let packets = self.packets.get(&Identity::from(key)).into_iter().flatten();
            packets.map(move |packet| (packet, key))
        };
        let mut found: Vec<_> = keys.into_iter().flat_map(of_key).collect();
        found.sort_by_key(|(packet, _)| std::cmp::Reverse(packet.timestamp));
        found.truncate(most);
        found.iter().map(|(packet, key)| line(packet, key)).collect()
    }
}

fn line(packet: &Packet, key: &NamedKey) -> String {
    let decoded = decode(packet.start, key.protocol, &packet.bytes[..packet.captured]);
    let decoded = decoded.with_tag(packet.vlan.map(VlanTag::id));
    let time = TimeText::new(packet.timestamp);
    let time = time.time_of_day().get(..12).unwrap_or_default().to_owned();
    format!("{time}  {}", packet_sentence(decoded, packet.length))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::Origin;
    use crate::domain::facts::Facts;
    use crate::sink::samples::{NEW_YEAR, udp_packet};
    use crate::top::samples::key;

    fn add(recent: &mut Recent, key: &Arc<NamedKey>, second: u64) {
        recent.add(&DropEvent {
            stack: &[],
            process: None,
            facts: Facts::default(),
            timestamp: Timestamp(NEW_YEAR.0 + second * 1_000_000_000),
            key,
            seen_by: Origin::Ebpf.alone(),
            length: 90,
            start: PacketStart::Mac,
            bytes: &udp_packet(),
        });
    }

    #[test]
    fn the_latest_packets_of_a_key_are_kept() {
        let mut recent = Recent::default();
        let (one, other) = (Arc::new(key("NO_SOCKET", "udp_rcv", None)), Arc::new(key("TCP_CSUM", "tcp_rcv", None)));
        for second in 0..9 {
            add(&mut recent, &one, second);
        }
        add(&mut recent, &other, 3);
        let lines = recent.lines([&*one], 10);
        assert_eq!(lines.len(), PER_KEY);
        assert_eq!(lines[0], "00:00:08.000  UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90");
        assert_eq!(recent.lines([&*one, &*other], 10).len(), PER_KEY + 1);
        assert_eq!(recent.lines([&*one], 2).len(), 2);
        assert!(recent.lines([], 2).is_empty());
    }
}
