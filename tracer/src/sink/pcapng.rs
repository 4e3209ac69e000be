//! Packet captures in the format pcapng, for Wireshark and tcpdump
//! (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>).
//!
//! Each dropped packet is a packet of the capture: its leading bytes, its original length, and a comment with the reason,
//! the drop site, the owner and the call stack. An interface of the capture is an interface of a network namespace whose
//! bytes start with one kind of header. The first interface, `droptrace`, has no packets: its statistics have the ledger.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};

use super::text::{OwnedBy, interface_of, ledger_lines};
use super::{DropSink, RunEnd};
use crate::dimension;
use crate::domain::event::{DropEvent, NamedKey, Timestamp};
use crate::domain::facts::VlanTag;
use crate::domain::ledger::Ledger;
use crate::domain::report::{Host, SourceReport};
use crate::outside::printable;
use crate::packet::{LinkHeader, link_header};

/// The link type of Linux's "cooked" captures, version 2 (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>):
/// its header says only which protocol follows.
const COOKED_HEADER: usize = 20;
/// `ARPHRD_VOID` (`include/uapi/linux/if_arp.h`): nothing is known of the link.
const ARPHRD_VOID: u16 = 0xffff;
/// No packet type that is defined: whether the packet came in or went out is not known.
const UNKNOWN_TYPE: u8 = 0xff;
/// Nanoseconds: 10 to the power of -9.
const NANOSECONDS: u8 = 9;
/// Both link addresses of an Ethernet frame, behind which a VLAN tag stands.
const ADDRESSES: usize = 12;

/// Writes a capture.
pub struct Pcapng<W: Write> {
    home_netns: u32,
    /// Before the start.
    out: Option<W>,
    /// From the start on.
    capture: Option<PcapNgWriter<W>>,
    /// The interfaces so far. Number 0 is droptrace's own.
    interfaces: HashMap<Interface, u32>,
    started_at: Timestamp,
    last: Timestamp,
    written: u64,
    bytes: Vec<u8>,
}

/// An interface of the capture.
#[derive(PartialEq, Eq, Hash)]
struct Interface {
    netns: u32,
    netns_cookie: u64,
    ifindex: u32,
    name: Option<Arc<str>>,
    /// Messages of netlink have no interface, and a name of their own.
    is_netlink: bool,
    link: u32,
}

impl<W: Write> Pcapng<W> {
    /// Writes to `out`. `home_netns` is as for [`TraceTextOptions::home_netns`](super::TraceTextOptions::home_netns).
    pub fn new(out: W, home_netns: u32) -> Self {
        Self {
            home_netns,
            out: Some(out),
            capture: None,
            interfaces: HashMap::new(),
            started_at: Timestamp(0),
            last: Timestamp(0),
            written: 0,
            bytes: Vec::new(),
        }
    }

    fn write<'b>(&mut self, block: impl PcapNgBlock<'b>) -> io::Result<()> {
        let capture = self.capture.as_mut().ok_or_else(|| io::Error::other("the capture has not started"))?;
        capture.write_pcapng_block(block).map(drop).map_err(into_io)
    }

    /// The number of an interface, which is described at its first packet.
    fn interface(&mut self, key: &NamedKey, link: DataLink) -> io::Result<u32> {
        let NamedKey { netns, netns_cookie, ifindex, ref interface, .. } = *key;
        let (name, is_netlink) = (interface.clone(), key.is_netlink_message());
        let wanted = Interface { netns, netns_cookie, ifindex, name, is_netlink, link: link.into() };
        if let Some(number) = self.interfaces.get(&wanted) {
            return Ok(*number);
        }
        let name = printable(&interface_of(key, self.home_netns)).into_owned();
        let mut options =
            vec![InterfaceDescriptionOption::IfName(name.into()), InterfaceDescriptionOption::IfTsResol(NANOSECONDS)];
        if netns != 0 {
            let description = format!("network namespace {}", printable(&dimension::netns(key)));
            options.push(InterfaceDescriptionOption::IfDescription(description.into()));
        }
        self.write(InterfaceDescriptionBlock { linktype: link, snaplen: 0, options })?;
        let number = u32::try_from(self.interfaces.len() + 1).map_err(io::Error::other)?;
        self.interfaces.insert(wanted, number);
        Ok(number)
    }

    /// Droptrace's own interface, which the statistics of all drops belong to.
    fn describe_itself(&mut self) -> io::Result<()> {
        let options = vec![
            InterfaceDescriptionOption::IfName("droptrace".into()),
            InterfaceDescriptionOption::IfDescription("no packets: its statistics are those of all drops".into()),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        // tcpdump reads a capture with several types only up to the second; most packets are of this one.
        self.write(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options })
    }
}

impl<W: Write> DropSink for Pcapng<W> {
    fn start(&mut self, host: &Host, started_at: Timestamp) -> io::Result<()> {
        let (name, kernel) = (printable(&host.name), printable(&host.kernel));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Comment(format!("Packets dropped on {name}").into()),
                SectionHeaderOption::OS(format!("Linux {kernel}").into()),
                SectionHeaderOption::UserApplication(concat!("droptrace ", env!("CARGO_PKG_VERSION")).into()),
            ],
            ..SectionHeaderBlock::default()
        };
        (self.started_at, self.last) = (started_at, started_at);
        let out = self.out.take().ok_or_else(|| io::Error::other("the capture has started already"))?;
        self.capture = Some(PcapNgWriter::with_section_header(out, section).map_err(into_io)?);
        self.describe_itself()?;
        self.flush()
    }

    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let (link, added) = put(&mut bytes, event);
        let lost_tag = event.facts.vlan.filter(|_| link != DataLink::ETHERNET);
        let interface_id = self.interface(event.key, link)?;
        let added = u32::try_from(added).map_err(io::Error::other)?;
        let captured = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.write(EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(event.timestamp.0),
            original_len: event.length.saturating_add(added).max(captured),
            data: Cow::Borrowed(&bytes),
            options: vec![EnhancedPacketOption::Comment(comment(event, lost_tag).into())],
        })?;
        self.bytes = bytes;
        self.last = self.last.max(event.timestamp);
        self.written += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.capture.as_mut().map_or(Ok(()), |capture| capture.get_mut().flush())
    }

    fn finish(&mut self, end: &RunEnd<'_>) -> io::Result<()> {
        let ended_at = end.duration.and_then(|duration| u64::try_from(duration.as_nanos()).ok());
        let ended_at = ended_at.map_or(self.last.0, |duration| self.started_at.0.saturating_add(duration));
        let mut options = vec![
            InterfaceStatisticsOption::IsbStartTime(halves(self.started_at.0)),
            InterfaceStatisticsOption::IsbEndTime(halves(ended_at)),
            InterfaceStatisticsOption::IsbUsrDeliv(self.written),
        ];
        if let Some(counted) = counted(end.sources) {
            options.push(InterfaceStatisticsOption::IsbFilterAccept(counted));
            options.push(InterfaceStatisticsOption::IsbIfDrop(counted.saturating_sub(self.written)));
        }
        let ledger: Vec<_> = ledger_lines(end).map(|line| line.text).collect();
        if !ledger.is_empty() {
            options.push(InterfaceStatisticsOption::Comment(ledger.join("\n").into()));
        }
        self.write(InterfaceStatisticsBlock { interface_id: 0, timestamp: halves(ended_at), options })?;
        self.flush()
    }
}

/// The number of drops that the only backend counted and no filter left out; `None` if several backends counted.
fn counted(sources: &[SourceReport]) -> Option<u64> {
    let [source] = sources else { return None };
    match &source.ledger {
        Ledger::Ebpf(ledger) => ledger.accounted.checked_add(ledger.overflow),
        Ledger::NetDm(ledger) => ledger.accounted.checked_add(ledger.overflow),
        Ledger::Counters(_) => None,
    }
}

/// A time in the statistics block: the high half comes first, in either byte order. The library writes a number as it is.
const fn halves(nanoseconds: u64) -> u64 {
    nanoseconds.rotate_left(32)
}

/// Replaces the bytes in `to` with the packet's, and returns the type of the header that they start with, and how many
/// bytes the packet has more than [`DropEvent::length`].
fn put(to: &mut Vec<u8>, event: &DropEvent<'_>) -> (DataLink, usize) {
    to.clear();
    let (protocol, bytes) = (event.key.protocol, event.bytes);
    match link_header(event.start, protocol, bytes) {
        LinkHeader::Ethernet => {
            let tag = event.facts.vlan.filter(|_| bytes.len() >= ADDRESSES);
            let (addresses, rest) = bytes.split_at(if tag.is_some() { ADDRESSES } else { 0 });
            to.extend_from_slice(addresses);
            for half in tag.into_iter().flat_map(|tag| [tag.protocol, tag.tci]) {
                to.extend_from_slice(&half.to_be_bytes());
            }
            to.extend_from_slice(rest);
            (DataLink::ETHERNET, to.len() - bytes.len())
        }
        LinkHeader::BareIp => {
            to.extend_from_slice(bytes);
            (DataLink::RAW, 0)
        }
        LinkHeader::Absent => {
            to.extend_from_slice(&cooked_header(protocol, event.key.ifindex));
            to.extend_from_slice(bytes);
            (DataLink::LINUX_SLL2, COOKED_HEADER)
        }
        LinkHeader::Unknown => {
            to.extend_from_slice(bytes);
            (DataLink::USER0, 0)
        }
    }
}

fn cooked_header(protocol: u16, ifindex: u32) -> [u8; COOKED_HEADER] {
    let mut header = [0; COOKED_HEADER];
    header[..2].copy_from_slice(&protocol.to_be_bytes());
    header[4..8].copy_from_slice(&ifindex.to_be_bytes());
    header[8..10].copy_from_slice(&ARPHRD_VOID.to_be_bytes());
    header[10] = UNKNOWN_TYPE;
    header
}

/// `SOCKET_RCVBUFF at udp_queue_rcv_one_skb+0x1a7, receiver nginx[1234] in shop/web-7d9f/nginx`, and on further lines the
/// functions that called the drop site. `lost_tag` is a VLAN tag that is not among the bytes.
fn comment(event: &DropEvent<'_>, lost_tag: Option<VlanTag>) -> String {
    let key = event.key;
    let site = dimension::site(&key.location, usize::MAX);
    let mut comment = format!("{} at {site}{}", dimension::reason(&key.reason), OwnedBy(event));
    if let Some(tag) = lost_tag {
        _ = write!(comment, ", vlan {}", tag.id());
    }
    for function in event.stack {
        _ = write!(comment, "\n{}", dimension::site(function, usize::MAX));
    }
    comment
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}
