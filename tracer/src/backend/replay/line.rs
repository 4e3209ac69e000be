//! Parses one line of a recording.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use tracer_common::REASON_ABSENT;

use super::SCHEMA;
use super::ledger::{self, End};
use super::owner::OwnerLine;
use super::refused::Refused;
use super::stack;
use crate::domain::event::{Kind, Location, NamedKey, Origin, PacketStart, Reason, Symbol, Timestamp};
use crate::domain::facts::Facts;
use crate::domain::owner::Process;
use crate::domain::report::Host;

/// Bytes of a name at most: symbols have up to 511 (`KSYM_NAME_LEN`, `include/linux/kallsyms.h`), all others are shorter.
const LONGEST_NAME: usize = 512;
/// The schema of a recording's last line.
const LEDGER: &str = "droptrace.ledger.v1";

/// The facts of a recording's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The host of the recording.
    pub(crate) host: Host,
    /// Start of the recording.
    pub(crate) started_at: Timestamp,
    /// Number of leading bytes in the kernel program's records.
    pub(crate) captured: usize,
    /// Network namespace of the recording process; 0 when not known.
    pub(crate) home_netns: u32,
    /// Whether two sources may have reported the same drops.
    pub(crate) both_sources: bool,
}

impl Default for Start {
    fn default() -> Self {
        let host = Host { name: String::new(), kernel: String::new() };
        Self { host, started_at: Timestamp(0), captured: 0, home_netns: 0, both_sources: true }
    }
}

/// One drop, as one source reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawDrop {
    /// The source.
    pub(crate) origin: Origin,
    /// Time of the drop.
    pub(crate) timestamp: Timestamp,
    /// Time of the report: nanoseconds since the recording's start.
    pub(crate) received_ns: u64,
    /// Time, by the same clock, up to which the recording holds all reports of the sources.
    pub(crate) watermark_ns: u64,
    /// The aggregation key of the drop.
    pub(crate) key: NamedKey,
    /// Length of the packet; see [`crate::domain::event::DropEvent`].
    pub(crate) length: u32,
    /// The header that `bytes` begin with.
    pub(crate) start: PacketStart,
    /// Leading bytes of the packet.
    pub(crate) bytes: Vec<u8>,
    /// Facts about the packet; see [`crate::domain::event::DropEvent`].
    pub(crate) facts: Facts,
    /// The process that had the packet's socket open; see [`crate::domain::event::DropEvent`].
    pub(crate) process: Option<Arc<Process>>,
    /// The call stack; see [`crate::domain::event::DropEvent`].
    pub(crate) stack: Vec<Arc<Location>>,
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A recording begins.
    Start(Start),
    /// A drop.
    Drop(Box<RawDrop>),
    /// The recording ends.
    End(End),
}

#[derive(Deserialize)]
struct LineKind<'l> {
    #[serde(borrow)]
    schema: Cow<'l, str>,
    #[serde(borrow)]
    source: Option<Cow<'l, str>>,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Entry, Refused> {
    let LineKind { schema, source } = serde_json::from_slice(line)?;
    match (&*schema, source) {
        (LEDGER, _) => Ok(Entry::End(ledger::parse(line)?)),
        (SCHEMA, None) => Ok(Entry::Start(serde_json::from_slice::<StartLine>(line)?.into_start()?)),
        (SCHEMA, Some(_)) => Ok(Entry::Drop(Box::new(serde_json::from_slice::<DropLine<'_>>(line)?.into_drop()?))),
        _ => Err(Refused::Schema(schema.chars().take(64).collect())),
    }
}

#[derive(Deserialize)]
struct StartLine {
    host: String,
    kernel: String,
    started_at: String,
    captured: usize,
    home_netns: Option<u32>,
    /// Absent in recordings of earlier versions.
    both_sources: Option<bool>,
}

impl StartLine {
    fn into_start(self) -> Result<Start, Refused> {
        let Self { host, kernel, started_at, captured, home_netns, both_sources } = self;
        let started_at = time(&started_at)?;
        let (host, home_netns) = (Host { name: host, kernel }, home_netns.unwrap_or(0));
        Ok(Start { host, started_at, captured, home_netns, both_sources: both_sources.unwrap_or(true) })
    }
}

#[derive(Deserialize)]
struct DropLine<'l> {
    #[serde(borrow)]
    source: Cow<'l, str>,
    #[serde(borrow)]
    timestamp: Cow<'l, str>,
    received_ns: u64,
    /// The first recordings do not have this field: the join gives up none of their drops before the end.
    #[serde(default)]
    watermark_ns: u64,
    reason: Option<String>,
    reason_number: Option<u32>,
    subsystem: Option<String>,
    symbol: Option<String>,
    offset: Option<u64>,
    module: Option<String>,
    #[serde(borrow)]
    address: Cow<'l, str>,
    trap_group: Option<String>,
    ethertype: u16,
    interface: Option<String>,
    ifindex: Option<u32>,
    netns: Option<u32>,
    netns_name: Option<String>,
    length: u32,
    #[serde(borrow)]
    start: Option<Cow<'l, str>>,
    #[serde(borrow)]
    bytes: Cow<'l, str>,
    #[serde(borrow)]
    kind: Option<Cow<'l, str>>,
    netns_cookie: Option<u64>,
    #[serde(default)]
    facts: Facts,
    owner: Option<OwnerLine<'l>>,
    #[serde(default)]
    stack: Vec<Cow<'l, str>>,
}

impl DropLine<'_> {
    fn into_drop(mut self) -> Result<RawDrop, Refused> {
        let owner = self.owner.take();
        let origin = Origin::ALL.into_iter().find(|origin| origin.name() == self.source);
        let start = match self.start.as_deref() {
            None => PacketStart::Nothing,
            Some("mac") => PacketStart::Mac,
            Some("network") => PacketStart::Network,
            Some(_) => return Err(Refused::Field("`start` is neither mac nor network")),
        };
        let mut drop = RawDrop {
            origin: origin.ok_or(Refused::Field("`source` is neither ebpf nor net_dm"))?,
            timestamp: time(&self.timestamp)?,
            received_ns: self.received_ns,
            watermark_ns: self.watermark_ns,
            length: self.length,
            start,
            bytes: bytes(&self.bytes).ok_or(Refused::Field("`bytes` are not hexadecimal"))?,
            facts: self.facts,
            process: None,
            stack: stack::parse(&self.stack)?,
            key: self.key()?,
        };
        if let Some(owner) = owner {
            drop.process = owner.add_to(&mut drop.key)?.map(Arc::new);
        }
        Ok(drop)
    }

    fn key(self) -> Result<NamedKey, Refused> {
        let names = [&self.reason, &self.subsystem, &self.symbol, &self.module, &self.trap_group];
        let names = names.into_iter().chain([&self.interface, &self.netns_name]).flatten();
        if names.map(String::len).any(|length| length > LONGEST_NAME) {
            return Err(Refused::Field("a name is longer than 512 bytes"));
        }
        let digits = self.address.strip_prefix("0x");
        let address = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let address = address.ok_or(Refused::Field("`address` is not hexadecimal"))?;
        let text = |text: Option<String>| text.map(Arc::from);
        let symbol = self.symbol.map(|name| Symbol {
            name: name.into(),
            offset: self.offset.unwrap_or(0),
            module: text(self.module),
        });
        let reason = match (self.reason, self.subsystem) {
            (Some(name), Some(subsystem)) => {
                Reason { value: self.reason_number, subsystem: subsystem.into(), name: name.into() }
            }
            _ => Reason { value: Some(REASON_ABSENT), subsystem: "core".into(), name: "NOT_SPECIFIED".into() },
        };
        let location = Location { address, symbol, trap_group: text(self.trap_group) };
        let ifindex = self.ifindex.unwrap_or(0);
        let kind = match self.kind.as_deref() {
            // The first recordings do not have this field.
            None => NamedKey::kind_of(Kind::Packet, ifindex, &location),
            Some(name) => Kind::of_name(name).ok_or(Refused::Field("`kind` is unknown"))?,
        };
        Ok(NamedKey {
            kind,
            reason: reason.into(),
            location: location.into(),
            protocol: self.ethertype,
            interface: text(self.interface),
            ifindex,
            netns: self.netns.unwrap_or(0),
            netns_cookie: self.netns_cookie.unwrap_or(0),
            netns_name: text(self.netns_name),
            ..NamedKey::default()
        })
    }
}

fn time(text: &str) -> Result<Timestamp, Refused> {
    let time = humantime::parse_rfc3339(text).ok();
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let nanoseconds = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
    nanoseconds.map(Timestamp).ok_or(Refused::Field("a time is none of RFC 3339 from 1970 to 2554"))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}
