//! `droptrace.drop.v1` and `droptrace.ledger.v1`.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::ledger::LedgerLine;
use super::{Address, Shown, protocol_of, symbol_of, told, trap_group};
use crate::event::{DropEvent, Origin};
use crate::packet::{Content, Decoded, Endpoint, ProtocolName, TcpFlags, Transport, TransportName, decode};
use crate::pipeline::dedupe::DedupeLedger;
use crate::report::SourceReport;
use crate::sink::time::TimeText;
use crate::sink::{DropSink, told_reason};

/// Shows each drop as a line of JSON, and the ledger as the last line. Allocates nothing for a drop, but for the first.
pub struct TraceJson<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> TraceJson<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::with_capacity(1024) }
    }

    fn write_line(&mut self, document: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, document)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

impl<W: Write> DropSink for TraceJson<W> {
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        let decoded = decode(event.start, event.place.protocol, event.bytes);
        self.write_line(&Line::new(event, &decoded))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, sources: &[SourceReport], union: Option<&DedupeLedger>) -> io::Result<()> {
        self.write_line(&LedgerLine::new(sources, union))?;
        self.out.flush()
    }
}

/// A drop's fields as they stand in its line, null where something is not known.
pub(crate) fn drop_fields(event: &DropEvent<'_>) -> Map<String, Value> {
    let decoded = decode(event.start, event.place.protocol, event.bytes);
    match serde_json::to_value(Line::new(event, &decoded)) {
        Ok(Value::Object(fields)) => fields,
        // A line is an object.
        _ => Map::new(),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    timestamp: TimeText,
    seen_by: Origins<'a>,
    reason: Option<&'a str>,
    subsystem: Option<&'a str>,
    symbol: Option<&'a str>,
    offset: Option<u64>,
    module: Option<&'a str>,
    interface: Option<&'a str>,
    ifindex: Option<u32>,
    netns: Option<u32>,
    protocol: Option<Shown<ProtocolName>>,
    length: u32,
    source: Option<Shown<Endpoint>>,
    destination: Option<Shown<Endpoint>>,
    transport: Option<Shown<TransportName>>,
    address: Option<Shown<Address>>,
    netns_name: Option<&'a str>,
    vlans: &'a [u16],
    tcp_flags: Option<Shown<TcpFlags>>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    trap_group: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(event: &DropEvent<'a>, packet: &'a Decoded) -> Self {
        let place = event.place;
        let (symbol, offset, module) = symbol_of(&place.location);
        let reason = told_reason(&place.reason);
        let (tcp_flags, icmp) = match &packet.content {
            Content::Ip(ip) => match ip.transport {
                Transport::Tcp(_, header) => (header.map(|header| header.flags), None),
                Transport::Icmp(message) | Transport::Icmpv6(message) => (None, Some(message)),
                _ => (None, None),
            },
            _ => (None, None),
        };
        Self {
            schema: "droptrace.drop.v1",
            timestamp: TimeText::new(event.timestamp),
            seen_by: Origins(event.seen_by),
            reason,
            subsystem: reason.map(|_| &*place.reason.subsystem),
            symbol,
            offset,
            module,
            interface: place.interface.as_deref(),
            ifindex: told(place.ifindex),
            netns: told(place.netns),
            protocol: protocol_of(place.protocol),
            length: event.length,
            source: packet.source().map(Shown),
            destination: packet.destination().map(Shown),
            transport: packet.transport().map(Shown),
            address: Address::of(&place.location),
            netns_name: place.netns_name.as_deref(),
            vlans: packet.vlans.ids(),
            tcp_flags: tcp_flags.map(Shown),
            icmp_type: icmp.map(|message| message.kind),
            icmp_code: icmp.map(|message| message.code),
            trap_group: trap_group(&place.location),
        }
    }
}

pub(super) struct Origins<'a>(pub(super) &'a [Origin]);

impl Serialize for Origins<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|origin| origin.name()))
    }
}
