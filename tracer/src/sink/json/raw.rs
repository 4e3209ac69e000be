//! `droptrace.raw.v1`: the reports of each backend, to be read again by [`crate::backend::replay`].

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use super::ledger::LedgerLine;
use super::stack::Stack;
use super::{Address, Shown, symbol_of};
use crate::backend::replay::{OwnerLine, SCHEMA};
use crate::dimension::nonzero;
use crate::domain::dedupe::Moment;
use crate::domain::event::reason_name;
use crate::domain::event::{DropEvent, NamedKey, Origin, PacketStart, Timestamp};
use crate::domain::facts::Facts;
use crate::domain::report::Host;
use crate::outside::to_json;
use crate::render::time::TimeText;
use crate::sink::{DropSink, RunEnd};

/// Facts about the recording in its first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawOptions {
    /// Captured leading bytes of each packet in the kernel program's records; 0 if the kernel does not let the program
    /// read them.
    pub captured: usize,
    /// Inode number of the recording process's network namespace; 0 if it is unknown.
    pub home_netns: u32,
    /// Whether two sources are recorded, which report the same drops. The reports of one source need not wait for another.
    pub both_sources: bool,
}

/// Writes a line for each drop that a backend reported. Allocates memory only for the first drop.
pub(crate) struct RawJson<W> {
    out: W,
    line: Vec<u8>,
    options: RawOptions,
    now: Moment,
    settled: Moment,
}

impl<W: Write> RawJson<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W, options: RawOptions) -> Self {
        let (now, settled) = <_>::default();
        Self { out, line: Vec::with_capacity(1024), options, now, settled }
    }

    /// What the lines are written to.
    pub(in crate::sink) const fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// What the lines were written to.
    #[cfg(feature = "agent")]
    pub(in crate::sink) const fn written(&self) -> &W {
        &self.out
    }

    fn write_line(&mut self, document: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        to_json(&mut self.line, document)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

impl<W: Write> DropSink for RawJson<W> {
    fn start(&mut self, host: &Host, started_at: Timestamp) -> io::Result<()> {
        let RawOptions { captured, home_netns, both_sources } = self.options;
        self.write_line(&Start {
            schema: SCHEMA,
            host: &host.name,
            kernel: &host.kernel,
            started_at: TimeText::new(started_at),
            captured,
            home_netns: nonzero(home_netns),
            both_sources,
        })
    }

    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        for origin in event.seen_by {
            self.write_line(&Line::new(*origin, [self.now, self.settled], event))?;
        }
        Ok(())
    }

    fn reading(&mut self, now: Moment, settled: Moment) {
        (self.now, self.settled) = (now, settled);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, end: &RunEnd<'_>) -> io::Result<()> {
        self.write_line(&LedgerLine::new(end))?;
        self.out.flush()
    }
}

/// Adds the line of a drop with this key, of which nothing else is known, to `out`; without the end of the line.
pub(in crate::sink) fn line_of_key(out: &mut Vec<u8>, key: &Arc<NamedKey>) -> io::Result<()> {
    let event = DropEvent {
        timestamp: Timestamp(0),
        key,
        seen_by: Origin::Ebpf.alone(),
        length: 0,
        start: PacketStart::Nothing,
        bytes: &[],
        facts: Facts::default(),
        process: None,
        stack: &[],
    };
    Ok(to_json(out, &Line::new(Origin::Ebpf, <_>::default(), &event))?)
}

#[derive(Serialize)]
struct Start<'r> {
    schema: &'static str,
    host: &'r str,
    kernel: &'r str,
    started_at: TimeText,
    captured: usize,
    home_netns: Option<u32>,
    both_sources: bool,
}

#[derive(Serialize)]
struct Line<'r> {
    schema: &'static str,
    source: &'static str,
    timestamp: TimeText,
    received_ns: u64,
    watermark_ns: u64,
    reason: Option<&'r str>,
    reason_number: Option<u32>,
    subsystem: Option<&'r str>,
    symbol: Option<&'r str>,
    offset: Option<u64>,
    module: Option<&'r str>,
    address: Shown<Address>,
    trap_group: Option<&'r str>,
    ethertype: u16,
    interface: Option<&'r str>,
    ifindex: Option<u32>,
    netns: Option<u32>,
    netns_name: Option<&'r str>,
    length: u32,
    start: Option<&'static str>,
    bytes: Shown<Hex<'r>>,
    kind: &'static str,
    netns_cookie: Option<u64>,
    facts: Facts,
    owner: Option<OwnerLine<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<Stack<'r>>,
}

impl<'r> Line<'r> {
    fn new(origin: Origin, [received, settled]: [Moment; 2], event: &DropEvent<'r>) -> Self {
        let key = event.key;
        let (symbol, offset, module) = symbol_of(&key.location);
        let reason = reason_name(&key.reason);
        Self {
            schema: SCHEMA,
            source: origin.name(),
            timestamp: TimeText::new(event.timestamp),
            received_ns: received.0,
            watermark_ns: settled.0,
            reason,
            reason_number: reason.and(key.reason.value),
            subsystem: reason.map(|_| &*key.reason.subsystem),
            symbol,
            offset,
            module,
            address: Shown(Address(key.location.address)),
            trap_group: key.location.trap_group.as_deref(),
            ethertype: key.protocol,
            interface: key.interface.as_deref(),
            ifindex: nonzero(key.ifindex),
            netns: nonzero(key.netns),
            netns_name: key.netns_name.as_deref(),
            length: event.length,
            start: match event.start {
                PacketStart::Nothing => None,
                PacketStart::Mac => Some("mac"),
                PacketStart::Network => Some("network"),
            },
            bytes: Shown(Hex(event.bytes)),
            kind: key.kind.name(),
            netns_cookie: Some(key.netns_cookie).filter(|cookie| *cookie != 0),
            facts: event.facts,
            owner: OwnerLine::of(event),
            stack: Stack::of(event),
        }
    }
}

/// Bytes as pairs of hexadecimal digits.
struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // The bytes are formatted in chunks: a call of the formatter for each byte would take most of the time of a
        // recording.
        let mut text = [0; 256];
        for piece in self.0.chunks(text.len() / 2) {
            for (digits, byte) in text.chunks_exact_mut(2).zip(piece) {
                digits[0] = DIGITS[usize::from(byte >> 4)];
                digits[1] = DIGITS[usize::from(byte & 15)];
            }
            f.write_str(str::from_utf8(&text[..2 * piece.len()]).unwrap_or_default())?;
        }
        Ok(())
    }
}
