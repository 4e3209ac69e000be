//! The last packets of each aggregation key.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::event::{DropEvent, NamedKey, PacketStart, Timestamp};
use crate::domain::facts::{Role, VlanTag};
use crate::domain::identity::Identity;
use crate::domain::owner::Process;
use crate::packet::{Decoded, decode};
#[cfg(feature = "top")]
use crate::render::time::TimeText;
use crate::sink::packet_sentence;

/// Leading bytes of packets that are kept, which is enough for their headers.
pub(super) const BYTES: usize = 128;
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
    holder: Option<Holder>,
}

/// A process that has the socket of a packet open, and the relation of the socket to the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) role: Role,
    pub(super) process: Arc<Process>,
}

/// The last packets of the keys that were dropped first; keys beyond `KEYS` have none.
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
        let holder = event.facts.socket.zip(event.process);
        let holder = holder.map(|(socket, process)| Holder { role: socket.role, process: Arc::clone(process) });
        let packets = self.packets.entry(identity).or_insert_with(|| VecDeque::with_capacity(PER_KEY));
        if packets.len() == PER_KEY {
            packets.pop_front();
        }
        packets.push_back(Packet { timestamp, length, start, vlan: event.facts.vlan, bytes, captured, holder });
    }

    /// The latest packet of some keys: its key, its headers, and the packet as tcpdump writes it.
    pub(crate) fn latest<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k NamedKey>,
    ) -> Option<(&'k NamedKey, Decoded, String)> {
        let (packet, key) = self.found(keys).into_iter().max_by_key(|(packet, _)| packet.timestamp)?;
        let decoded = decoded(packet, key);
        Some((key, decoded, packet_sentence(decoded, packet.length)))
    }

    /// The last packets of some keys, the latest first: the time of day in UTC and the packet as tcpdump writes it.
    #[cfg(feature = "top")]
    pub(crate) fn lines<'k>(&self, keys: impl IntoIterator<Item = &'k NamedKey>, most: usize) -> Vec<String> {
        let mut found = self.found(keys);
        found.sort_by_key(|(packet, _)| std::cmp::Reverse(packet.timestamp));
        found.truncate(most);
        found.iter().map(|(packet, key)| line(packet, key)).collect()
    }

    /// The process of most of the last packets of some keys, and whether it is that of all; absent where no process has most.
    pub(super) fn holder<'k>(&self, keys: impl IntoIterator<Item = &'k NamedKey>) -> Option<(Holder, bool)> {
        let found = self.found(keys);
        let mut counts: Vec<(&Holder, usize)> = Vec::new();
        for holder in found.iter().filter_map(|(packet, _)| packet.holder.as_ref()) {
            match counts.iter_mut().find(|(known, _)| *known == holder) {
                Some((_, count)) => *count += 1,
                None => counts.push((holder, 1)),
            }
        }
        let (holder, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 2 > found.len()).then(|| (holder.clone(), count == found.len()))
    }

    /// Packets are kept without their flows, because single drops have none in their keys.
    fn found<'k>(&self, keys: impl IntoIterator<Item = &'k NamedKey>) -> Vec<(&Packet, &'k NamedKey)> {
        let of_key = |key: &'k NamedKey| {
            let identity = Identity::from(&NamedKey { flow: None, ..key.clone() });
            let packets = self.packets.get(&identity).into_iter().flatten();
            packets.filter(move |packet| is_of_flow(packet, key)).map(move |packet| (packet, key))
        };
        keys.into_iter().flat_map(of_key).collect()
    }
}

/// Whether a packet has the facts of the key's flow, as far as a packet shows them.
fn is_of_flow(packet: &Packet, key: &NamedKey) -> bool {
    let Some(flow) = &key.flow else { return true };
    let decoded = decoded(packet, key);
    let (source, destination) = (decoded.source(), decoded.destination());
    let holder = packet.holder.as_ref().map(|holder| holder.process.pid);
    is(flow.source, source.map(|end| end.address))
        && is(flow.destination, destination.map(|end| end.address))
        && is(flow.source_port, source.and_then(|end| end.port))
        && is(flow.destination_port, destination.and_then(|end| end.port))
        && is(flow.process.as_ref().map(|process| process.pid), holder)
}

fn is<T: Copy + PartialEq>(wanted: Option<T>, found: Option<T>) -> bool {
    wanted.is_none() || wanted == found
}

fn decoded(packet: &Packet, key: &NamedKey) -> Decoded {
    let decoded = decode(packet.start, key.protocol, &packet.bytes[..packet.captured]);
    decoded.with_tag(packet.vlan.map(VlanTag::id))
}

#[cfg(feature = "top")]
fn line(packet: &Packet, key: &NamedKey) -> String {
    let time = TimeText::new(packet.timestamp);
    let time = time.time_of_day().get(..12).unwrap_or_default().to_owned();
    format!("{time}  {}", packet_sentence(decoded(packet, key), packet.length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Origin;
    use crate::domain::facts::{Facts, Socket};
    use crate::domain::flow::Flow;
    use crate::sink::samples::{NEW_YEAR, key as sample, udp_packet};

    fn add(recent: &mut Recent, key: &Arc<NamedKey>, second: u64) {
        add_of(recent, key, second, None);
    }

    fn add_of(recent: &mut Recent, key: &Arc<NamedKey>, second: u64, process: Option<&Arc<Process>>) {
        let socket = Socket {
            role: Role::Receiver,
            cookie: None,
            inode: None,
            uid: None,
            port: None,
            receive_buffer: None,
            receive_queued: None,
        };
        recent.add(&DropEvent {
            stack: &[],
            process,
            facts: Facts { socket: Some(socket), ..Facts::default() },
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
        let (one, other) = (Arc::new(sample()), Arc::new(NamedKey { ifindex: 9, ..sample() }));
        for second in 0..9 {
            add(&mut recent, &one, second);
        }
        add(&mut recent, &other, 3);
        let lines = recent.lines([&*one], 10);
        assert_eq!(lines.len(), PER_KEY);
        assert_eq!(lines[0], "00:00:08.000  UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90");
        assert_eq!(recent.lines([&*one, &*other], 10).len(), PER_KEY + 1);
        assert_eq!(recent.lines([&*one], 2).len(), 2);
        assert!(recent.lines([], 2).is_empty() && recent.latest([]).is_none());
        let (_, decoded, sentence) = recent.latest([&*one]).unwrap();
        assert_eq!(decoded.destination().unwrap().port, Some(4444));
        assert_eq!(sentence, "UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90");
    }
    #[test]
    fn key_with_a_flow_has_the_packets_of_the_flow() {
        let mut recent = Recent::default();
        let key = Arc::new(sample());
        let server = Arc::new(Process { pid: 7, comm: Some("dns".into()) });
        add_of(&mut recent, &key, 1, Some(&server));
        let found = |flow: Flow| recent.latest([&NamedKey { flow: Some(flow.into()), ..sample() }]).is_some();
        assert!(found(Flow { destination_port: Some(4444), ..Flow::default() }));
        assert!(!found(Flow { destination_port: Some(4445), ..Flow::default() }));
        let of = |pid| Flow { process: Some(Process { pid, comm: None }.into()), ..Flow::default() };
        assert!(found(of(7)) && !found(of(8)));
    }

    #[test]
    fn process_of_most_packets_is_named() {
        let mut recent = Recent::default();
        let key = Arc::new(sample());
        let server = Arc::new(Process { pid: 7, comm: Some("dns".into()) });
        add_of(&mut recent, &key, 1, Some(&server));
        let holder = Holder { role: Role::Receiver, process: Arc::clone(&server) };
        assert_eq!(recent.holder([&*key]), Some((holder.clone(), true)));
        add(&mut recent, &key, 2);
        assert_eq!(recent.holder([&*key]), None, "half of the packets are not most");
        add_of(&mut recent, &key, 3, Some(&server));
        assert_eq!(recent.holder([&*key]), Some((holder, false)));
    }
}
