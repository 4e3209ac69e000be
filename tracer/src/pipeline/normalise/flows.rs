//! Totals by flow, and the processes of their sockets.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tracer_common::{
    DropKey, FLOW_DESTINATION, FLOW_DESTINATION_PORT, FLOW_PROCESS, FLOW_SOURCE, FLOW_SOURCE_PORT, FLOW_TRANSPORT,
    FlowRow, KIND_XDP, KNOWN_ADDRESSES, KNOWN_MARK, KNOWN_PORTS, KNOWN_USER,
};

use super::Normaliser;
use crate::backend::ebpf::{Count, Totals};
use crate::domain::event::NamedKey;
use crate::domain::flow::Flow;
use crate::domain::total::DropTotal;

/// A socket without a known process is searched until this number of nanoseconds after its last drop, because sockets
/// that were closed are never found.
const SEARCHED_NS: u64 = 10_000_000_000;

impl Normaliser {
    /// Searches the processes of sockets that are new in these totals, while they have them open; flows have no sockets
    /// unless processes were asked for. A process that was found
    /// once stays the socket's, so that it keeps its name when it ends. Sockets are distinguished by their inode numbers,
    /// which the kernel gives out in a circle of 2³². The caller calls this function once a second, and at the end of the
    /// run with `is_last`, when it searches however recent the last search was.
    pub(crate) fn learn_processes(&mut self, totals: &Totals, is_last: bool) {
        let Some(owners) = &mut self.owners else { return };
        let newest = totals.flows.iter().map(|(_, count)| count.last_ns).max().unwrap_or_default();
        let is_recent = |count: &Count| count.last_ns.saturating_add(SEARCHED_NS) >= newest;
        let recent = totals.flows.iter().filter(|(_, count)| is_recent(count)).map(|(row, _)| row.facts.inode);
        let unknown: HashSet<u32> = recent.filter(|inode| *inode != 0 && !self.processes.contains_key(inode)).collect();
        if unknown.is_empty() {
            return;
        }
        owners.want_processes(unknown.iter().map(|inode| u64::from(*inode)));
        if is_last {
            owners.search_last_processes();
        } else {
            owners.search_processes();
        }
        let found = unknown.into_iter().filter_map(|inode| Some((inode, owners.process_of_socket(inode.into())?)));
        self.processes.extend(found);
    }

    /// Totals by key and flow; `wanted` are the facts of flows that were asked for. Drops of a key whose flow is not known
    /// separately are one row ([`Flow::is_others`]), so that the sum is exact. They bound what the other rows of the key may
    /// have more.
    pub fn flows(&mut self, totals: &Totals, wanted: u32) -> Vec<DropTotal> {
        let divided = Divided::of(totals, wanted);
        let mut rows = Vec::with_capacity(totals.flows.len());
        for (row, count) in &divided.flows {
            let Some(rest) = divided.rests.get(&row.drop) else { continue };
            let named = self.named_key(&row.drop, rest.names, totals.trap(&row.drop));
            let more = divided.more(row, rest);
            rows.push(DropTotal { more, ..self.total(with_flow(&named, Some(self.flow(row, wanted))), count) });
        }
        for (key, rest) in divided.rests.iter().filter(|(_, rest)| rest.packets > 0) {
            let named = self.named_key(key, rest.names, totals.trap(key));
            // A frame that XDP drops has no flow here.
            let others = (key.kind != KIND_XDP).then(|| Flow { is_others: true, ..Flow::default() });
            let more = others.as_ref().map_or(0, |_| divided.more_of_others(key, rest));
            rows.push(DropTotal { more, ..self.total(with_flow(&named, others), rest) });
        }
        rows
    }

    fn flow(&self, row: &FlowRow, wanted: u32) -> Flow {
        Flow { process: self.processes.get(&row.facts.inode).cloned(), ..flow(row, wanted) }
    }
}

/// The drops of each key, divided into those of its flows and the rest.
struct Divided<'t> {
    totals: &'t Totals,
    flows: Vec<(&'t FlowRow, &'t Count)>,
    rests: HashMap<DropKey, Count, RandomState>,
    /// Keys with a flow that is not among `flows`, although it has drops.
    incomplete: HashSet<DropKey, RandomState>,
    /// A row that is shown may have many flows here: a process has many sockets.
    is_finer: bool,
}

impl<'t> Divided<'t> {
    fn of(totals: &'t Totals, wanted: u32) -> Self {
        let mut rests: HashMap<DropKey, Count, RandomState> = totals.counts.clone();
        let (mut flows, mut incomplete) = (Vec::with_capacity(totals.flows.len()), HashSet::default());
        for (row, count) in totals.flows.iter() {
            // A key that found no room is counted by reason, and so are its flows.
            let Some(rest) = rests.get_mut(&row.drop).filter(|rest| rest.packets >= count.packets) else {
                incomplete.insert(row.drop);
                continue;
            };
            rest.packets -= count.packets;
            rest.bytes = rest.bytes.saturating_sub(count.bytes);
            flows.push((row, count));
        }
        Self { totals, flows, rests, incomplete, is_finer: wanted & FLOW_PROCESS != 0 }
    }

    /// How many of the rest of a key one of its flows may have.
    fn more(&self, row: &FlowRow, rest: &Count) -> u64 {
        if self.is_finer { rest.packets } else { rest.packets.min(self.totals.flows.most_more(row)) }
    }

    /// How many of them a flow may have that is no row.
    fn more_of_others(&self, key: &DropKey, rest: &Count) -> u64 {
        let is_bounded = !self.is_finer && !self.incomplete.contains(key);
        let most = self.totals.flows.most_of_others().filter(|_| is_bounded);
        most.map_or(rest.packets, |most| most.min(rest.packets))
    }
}

fn with_flow(named: &NamedKey, flow: Option<Flow>) -> Arc<NamedKey> {
    Arc::new(NamedKey { flow: flow.map(Arc::new), ..named.clone() })
}

/// The facts of a flow that are known and wanted, except its process.
fn flow(row: &FlowRow, wanted: u32) -> Flow {
    let facts = &row.facts;
    let has = |known: u8, fact: u32| facts.known & known != 0 && wanted & fact != 0;
    let port = |port: u16, fact| has(KNOWN_PORTS, fact).then_some(u16::from_be(port));
    Flow {
        source: has(KNOWN_ADDRESSES, FLOW_SOURCE).then(|| address(&facts.source, facts.version)),
        destination: has(KNOWN_ADDRESSES, FLOW_DESTINATION).then(|| address(&facts.destination, facts.version)),
        transport: has(KNOWN_ADDRESSES, FLOW_TRANSPORT).then_some(facts.transport),
        source_port: port(facts.source_port, FLOW_SOURCE_PORT),
        destination_port: port(facts.destination_port, FLOW_DESTINATION_PORT),
        mark: (facts.known & KNOWN_MARK != 0).then_some(facts.mark),
        process: None,
        uid: (facts.known & KNOWN_USER != 0).then_some(row.uid),
        is_others: false,
    }
}

fn address(words: &[u64; 2], version: u8) -> IpAddr {
    let bytes: [u8; 16] = zerocopy::transmute!(*words);
    match (version, bytes.first_chunk::<4>()) {
        (4, Some(bytes)) => Ipv4Addr::from(*bytes).into(),
        _ => Ipv6Addr::from(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use tracer_common::{FLOW_MARK, FLOW_USER, FlowFacts, KeyNames};

    use super::*;
    use crate::identity::netns::Names;
    use crate::identity::owners::{Owners, Search};
    use crate::kernel::reasons::ReasonNames;

    fn count(packets: u64) -> Count {
        Count { packets, bytes: packets * 100, first_ns: 1, last_ns: 2, names: KeyNames::default() }
    }

    /// A flow of IPv4 from `10.0.0.LAST:7`.
    fn row(drop: DropKey, last: u8) -> FlowRow {
        let source = [u64::from(u32::from_ne_bytes([10, 0, 0, last])), 0];
        let known = KNOWN_ADDRESSES | KNOWN_PORTS;
        FlowRow {
            drop,
            facts: FlowFacts { source, source_port: 7_u16.to_be(), version: 4, known, ..FlowFacts::default() },
            ..FlowRow::default()
        }
    }

    /// The source address, whether the row is that of other flows, the packets and the bytes.
    type Row = (Option<String>, Option<bool>, u64, Option<u64>);

    fn rows(totals: &Totals) -> Vec<Row> {
        let mut normaliser = Normaliser::new(ReasonNames::without_types(), Arc::new(Names::new()), None, None);
        let rows = normaliser.flows(totals, FLOW_SOURCE | FLOW_MARK);
        let mut rows: Vec<_> = rows
            .iter()
            .map(|total| {
                let flow = total.key.flow.as_deref();
                let source = flow.and_then(|flow| flow.source).map(|address| address.to_string());
                (source, flow.map(|flow| flow.is_others), total.packets, total.bytes)
            })
            .collect();
        rows.sort();
        rows
    }

    #[test]
    fn the_rest_of_a_key_is_of_other_flows() {
        let key = DropKey { location: 1, ..DropKey::default() };
        let mut totals = Totals::default();
        totals.counts.insert(key, count(10));
        totals.flows.insert(row(key, 1), count(6));
        totals.flows.insert(row(key, 2), count(1));
        let expected = [
            (None, Some(true), 3, Some(300)),
            (Some("10.0.0.1".into()), Some(false), 6, Some(600)),
            (Some("10.0.0.2".into()), Some(false), 1, Some(100)),
        ];
        assert_eq!(rows(&totals), expected);
    }

    #[test]
    fn flows_of_a_key_without_room_are_counted_by_reason() {
        let (known, beyond) =
            (DropKey { location: 1, ..DropKey::default() }, DropKey { location: 2, ..DropKey::default() });
        let xdp = DropKey { kind: KIND_XDP, ..DropKey::default() };
        let mut totals = Totals::default();
        totals.counts.extend([(known, count(2)), (xdp, count(4))]);
        totals.flows.insert(row(beyond, 1), count(5));
        totals.flows.insert(row(known, 1), count(3));
        let sum: u64 = rows(&totals).iter().map(|(_, _, packets, _)| packets).sum();
        assert_eq!(sum, 6, "no more than was counted by key");
        assert!(rows(&totals).contains(&(None, None, 4, None)), "XDP's frames have no flow: {:?}", rows(&totals));
    }

    #[test]
    fn facts_that_were_not_asked_for_are_absent() {
        let row = row(DropKey::default(), 1);
        let expected = Flow { source: Some([10, 0, 0, 1].into()), ..Flow::default() };
        assert_eq!(flow(&row, FLOW_SOURCE), expected);
        assert_eq!(flow(&row, FLOW_SOURCE_PORT), Flow { source_port: Some(7), ..Flow::default() });
        let ipv6 = [u64::from_ne_bytes([0xfd, 0, 0, 0, 0, 0, 0, 0]), u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 9])];
        assert_eq!(address(&ipv6, 6).to_string(), "fd00::9");
    }

    /// A row of this socket, whose last drop was at `last_ns`.
    fn socket_row(totals: &mut Totals, inode: u64, last_ns: u64) -> FlowRow {
        let facts = FlowFacts { inode: inode.try_into().unwrap(), known: KNOWN_USER, ..FlowFacts::default() };
        let row = FlowRow { facts, uid: 33, ..FlowRow::default() };
        totals.flows.insert(row, Count { last_ns, ..count(1) });
        row
    }

    #[test]
    fn a_process_that_was_found_keeps_its_socket() {
        let owners = Owners::new().naming(false, Some(Search::Sparing));
        let mut normaliser = Normaliser::new(ReasonNames::without_types(), Arc::new(Names::new()), None, Some(owners));
        let inode = |socket: &UdpSocket| rustix::fs::fstat(socket).unwrap().st_ino;
        let [known, old, closed] = std::array::from_fn(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut totals = Totals::default();
        let without = socket_row(&mut totals, 0, 2 * SEARCHED_NS);
        let rows = [(&known, SEARCHED_NS), (&old, SEARCHED_NS - 1), (&closed, 2 * SEARCHED_NS)];
        let [known_row, old_row, closed_row] = rows.map(|(socket, last)| socket_row(&mut totals, inode(socket), last));
        drop(closed);
        // A search on a busy machine may end at its bound, and goes on there.
        for _ in 0..1000 {
            normaliser.learn_processes(&totals, true);
            if normaliser.flow(&known_row, FLOW_PROCESS).process.is_some() {
                break;
            }
        }
        drop(known);
        normaliser.learn_processes(&totals, true);
        let wanted = FLOW_PROCESS | FLOW_USER;
        let pid = |row: &FlowRow| normaliser.flow(row, wanted).process.map(|process| process.pid);
        assert_eq!(
            [known_row, old_row, closed_row, without].each_ref().map(pid),
            [Some(std::process::id()), None, None, None]
        );
        assert_eq!(normaliser.flow(&without, wanted), Flow { uid: Some(33), ..Flow::default() });
    }
}
