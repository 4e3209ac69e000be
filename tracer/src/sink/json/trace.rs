//! `droptrace.drop.v1` and `droptrace.ledger.v1`.

use std::io::{self, Write};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Shown;
use super::keys::{KeyTexts, Keyed};
use super::ledger::LedgerLine;
use super::retransmit;
use super::stack::Stack;
use crate::dimension::Dimensions;
use crate::domain::event::{DropEvent, Origin};
use crate::domain::facts::{Facts, Gso, Socket, VlanTag};
use crate::domain::hook::{NetfilterHook, netfilter_hook};
use crate::domain::owner::Process;
use crate::domain::retransmit::RetransmitEvent;
use crate::outside::to_json;
use crate::packet::{Content, Decoded, Endpoint, TcpFlags, Transport, TransportName, decode};
use crate::render::time::TimeText;
use crate::sink::{DropSink, RunEnd};

/// The protocol of raw sockets that only send (`include/uapi/linux/in.h`).
const IPPROTO_RAW: u16 = 255;

/// Shows each drop as a line of JSON, and the ledger as the last line. Allocates memory only for the first drop of an
/// aggregation key.
pub struct TraceJson<W> {
    out: W,
    line: Vec<u8>,
    keys: KeyTexts,
}

impl<W: Write> TraceJson<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::with_capacity(1024), keys: KeyTexts::default() }
    }
}

impl<W: Write> DropSink for TraceJson<W> {
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        let Self { out, line, keys } = self;
        let decoded = decode(event.start, event.key.protocol, event.bytes).with_tag(event.facts.vlan.map(VlanTag::id));
        line.clear();
        to_json(&mut *line, &Head::from(event))?;
        // Three objects become one: the brackets between them become a comma.
        line.pop();
        line.push(b',');
        line.extend_from_slice(keys.members(event.key)?);
        let rest = line.len();
        to_json(&mut *line, &Packet::new(event, &decoded))?;
        line[rest] = b',';
        line.push(b'\n');
        out.write_all(line)
    }

    fn retransmission(&mut self, event: &RetransmitEvent) -> io::Result<()> {
        to_json(&mut self.out, &retransmit::Line::from(event))?;
        self.out.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, end: &RunEnd<'_>) -> io::Result<()> {
        to_json(&mut self.out, &LedgerLine::new(end))?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

/// A drop's fields as its line has them, null where a fact is not known.
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "the fields of pushed records"))]
pub(crate) fn drop_fields(event: &DropEvent<'_>) -> Map<String, Value> {
    let decoded = decode(event.start, event.key.protocol, event.bytes).with_tag(event.facts.vlan.map(VlanTag::id));
    let head = serde_json::to_value(Head::from(event));
    let key = serde_json::to_value(Keyed::new(event.key, &Dimensions::of_drops()));
    let packet = serde_json::to_value(Packet::new(event, &decoded));
    let parts = [head, key, packet].into_iter().map(|part| match part {
        Ok(Value::Object(fields)) => fields,
        // Each value is an object.
        _ => Map::new(),
    });
    parts.flatten().collect()
}

/// The members at the beginning of a line.
#[derive(Serialize)]
struct Head<'a> {
    schema: &'static str,
    timestamp: TimeText,
    seen_by: Origins<'a>,
}

impl<'a> From<&DropEvent<'a>> for Head<'a> {
    fn from(event: &DropEvent<'a>) -> Self {
        let timestamp = TimeText::new(event.timestamp);
        Self { schema: "droptrace.drop.v1", timestamp, seen_by: Origins(event.seen_by) }
    }
}

/// The members at the end of a line, after those of the aggregation key.
#[derive(Serialize)]
struct Packet<'a> {
    length: Option<u32>,
    source: Option<Shown<Endpoint>>,
    destination: Option<Shown<Endpoint>>,
    transport: Option<Shown<TransportName>>,
    vlans: &'a [u16],
    to_device: Option<bool>,
    tcp_flags: Option<Shown<TcpFlags>>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    cpu: Option<u32>,
    mark: Option<u32>,
    queue: Option<u16>,
    device_mtu: Option<u32>,
    route_mtu: Option<u32>,
    gso: Option<Gso>,
    socket: Option<Socket>,
    process: Option<&'a Process>,
    stack: Option<Stack<'a>>,
    netfilter_hook: Option<NetfilterHook>,
}

impl<'a> Packet<'a> {
    fn new(event: &DropEvent<'a>, packet: &'a Decoded) -> Self {
        let (tcp_flags, icmp) = match &packet.content {
            Content::Ip(ip) => match ip.transport {
                Transport::Tcp(_, header) => (header.map(|header| header.flags), None),
                Transport::Icmp(message) | Transport::Icmpv6(message) => (None, Some(message)),
                _ => (None, None),
            },
            _ => (None, None),
        };
        let Facts { cpu, mark, queue, device_mtu, route_mtu, gso, socket, vlan: _, device_mac: _ } = event.facts;
        Self {
            length: event.key.kind.has_length().then_some(event.length),
            source: packet.source().map(Shown),
            destination: packet.destination().map(Shown),
            transport: packet.transport().map(Shown),
            vlans: packet.vlans.ids(),
            to_device: event.is_to_device(),
            tcp_flags: tcp_flags.map(Shown),
            icmp_type: icmp.map(|message| message.kind),
            icmp_code: icmp.map(|message| message.code),
            cpu,
            mark,
            queue,
            device_mtu,
            route_mtu,
            gso,
            socket: socket.map(|socket| Socket { port: local_port(socket.port, packet), ..socket }),
            process: event.process.map(Arc::as_ref),
            stack: Stack::of(event),
            netfilter_hook: netfilter_hook(event.stack),
        }
    }
}

/// The local port of the packet's socket. A raw socket has the number of its protocol instead of a port (`raw_v4_input` and
/// `inet_create`, `net/ipv4`), and a socket of pings an identifier.
fn local_port(port: Option<u16>, packet: &Decoded) -> Option<u16> {
    let Content::Ip(ip) = &packet.content else { return port };
    let ports = [packet.source(), packet.destination()].map(|end| end.and_then(|end| end.port));
    let is_protocol = |port: &u16| *port == IPPROTO_RAW || ip.protocol.map(u16::from) == Some(*port);
    let is_icmp = matches!(ip.transport, Transport::Icmp(_) | Transport::Icmpv6(_));
    port.filter(|port| ports.contains(&Some(*port)) || !(is_icmp || is_protocol(port)))
}

pub(super) struct Origins<'a>(pub(super) &'a [Origin]);

impl Serialize for Origins<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|origin| origin.name()))
    }
}
