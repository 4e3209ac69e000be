//! The attributes of `NET_DM` (`enum net_dm_attr`, `include/uapi/linux/net_dropmon.h`).

use netlink_packet_core::{NLA_F_NESTED, Nla};

use crate::netlink::wire::{self, Malformed};

pub(super) const UNSPEC: u16 = 0;
const ALERT_MODE: u16 = 1;
const PC: u16 = 2;
const SYMBOL: u16 = 3;
const IN_PORT: u16 = 4;
const TIMESTAMP: u16 = 5;
const PROTO: u16 = 6;
const PAYLOAD: u16 = 7;
const PAD: u16 = 8;
const TRUNC_LEN: u16 = 9;
const ORIG_LEN: u16 = 10;
const QUEUE_LEN: u16 = 11;
const STATS: u16 = 12;
const HW_STATS: u16 = 13;
const ORIGIN: u16 = 14;
const HW_TRAP_GROUP_NAME: u16 = 15;
const HW_TRAP_NAME: u16 = 16;
const HW_ENTRIES: u16 = 17;
const HW_ENTRY: u16 = 18;
const HW_TRAP_COUNT: u16 = 19;
const SW_DROPS: u16 = 20;
const HW_DROPS: u16 = 21;
const FLOW_ACTION_COOKIE: u16 = 22;
const REASON: u16 = 23;

/// An attribute within `IN_PORT`; type 0 is valid here.
const PORT_IFINDEX: u16 = 0;
const PORT_NAME: u16 = 1;

/// An attribute within `STATS` and `HW_STATS`.
const STATS_DROPPED: u16 = 0;

/// One attribute, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<'m> {
    /// The drop sites of a summary alert: `u32` count, then as many times `pc` (8 bytes) and `u32` hits.
    Sites(&'m [u8]),
    /// 0 summary, 1 packets.
    AlertMode(u8),
    /// Address that the freeing call returns to.
    Pc(u64),
    /// The same address as the kernel prints it, cut to 39 characters.
    Symbol(&'m str),
    /// The interface where the packet came in.
    InPort {
        /// The interface's index; absent if there is none.
        ifindex: Option<u32>,
        /// The interface's name; hardware drops only.
        name: Option<&'m str>,
    },
    /// `CLOCK_REALTIME` nanoseconds.
    Timestamp(u64),
    /// `EtherType`, host order.
    Protocol(u16),
    /// Leading bytes, from the MAC header.
    Payload(&'m [u8]),
    /// Padding.
    Pad,
    /// Bytes that payloads are cut to; 0 for whole packets.
    TruncLen(u32),
    /// Bytes of the packet, from the MAC header.
    OrigLen(u32),
    /// Packets that may wait, per CPU.
    QueueLen(u32),
    /// Software drops that the queue had no room for.
    Stats(u64),
    /// Hardware drops that the queue had no room for.
    HwStats(u64),
    /// 0 software, 1 hardware.
    Origin(u16),
    /// Group of the devlink trap.
    HwTrapGroupName(&'m str),
    /// The devlink trap.
    HwTrapName(&'m str),
    /// The hardware drops of a summary: entries.
    HwEntries(&'m [u8]),
    /// One hardware entry: a trap's name and its count.
    HwEntry(&'m [u8]),
    /// Packets of a trap.
    HwTrapCount(u32),
    /// Of START and STOP: software drops.
    SwDrops,
    /// Of START and STOP: hardware drops.
    HwDrops,
    /// The cookie of a `tc` rule.
    FlowActionCookie(&'m [u8]),
    /// The drop reason's name, without prefix.
    Reason(&'m str),
}

impl<'m> Attribute<'m> {
    /// Parses an attribute; absent for an unknown type.
    pub fn parse(attribute: &wire::Attribute<'m>) -> Result<Option<Self>, Malformed> {
        Ok(Some(match attribute.kind {
            UNSPEC => Self::Sites(attribute.value),
            ALERT_MODE => Self::AlertMode(attribute.u8()?),
            PC => Self::Pc(attribute.u64()?),
            SYMBOL => Self::Symbol(attribute.text()?),
            IN_PORT => Self::in_port(attribute)?,
            TIMESTAMP => Self::Timestamp(attribute.u64()?),
            PROTO => Self::Protocol(attribute.u16()?),
            PAYLOAD => Self::Payload(attribute.value),
            PAD => Self::Pad,
            TRUNC_LEN => Self::TruncLen(attribute.u32()?),
            ORIG_LEN => Self::OrigLen(attribute.u32()?),
            QUEUE_LEN => Self::QueueLen(attribute.u32()?),
            STATS => Self::Stats(dropped(attribute)?),
            HW_STATS => Self::HwStats(dropped(attribute)?),
            ORIGIN => Self::Origin(attribute.u16()?),
            HW_TRAP_GROUP_NAME => Self::HwTrapGroupName(attribute.text()?),
            HW_TRAP_NAME => Self::HwTrapName(attribute.text()?),
            HW_ENTRIES => Self::HwEntries(attribute.value),
            HW_ENTRY => Self::HwEntry(attribute.value),
            HW_TRAP_COUNT => Self::HwTrapCount(attribute.u32()?),
            SW_DROPS => Self::SwDrops,
            HW_DROPS => Self::HwDrops,
            FLOW_ACTION_COOKIE => Self::FlowActionCookie(attribute.value),
            REASON => Self::Reason(attribute.text()?),
            _ => return Ok(None),
        }))
    }

    fn in_port(attribute: &wire::Attribute<'m>) -> Result<Self, Malformed> {
        let (mut ifindex, mut name) = (None, None);
        for part in attribute.nested() {
            let part = part?;
            match part.kind {
                PORT_IFINDEX => ifindex = Some(part.u32()?),
                PORT_NAME => name = Some(part.text()?),
                _ => {}
            }
        }
        Ok(Self::InPort { ifindex, name })
    }
}

fn dropped(attribute: &wire::Attribute<'_>) -> Result<u64, Malformed> {
    for part in attribute.nested() {
        let part = part?;
        if part.kind == STATS_DROPPED {
            return part.u64();
        }
    }
    Err(Malformed("statistics without a number"))
}

impl Nla for Attribute<'_> {
    fn kind(&self) -> u16 {
        match self {
            Self::Sites(_) => UNSPEC,
            Self::AlertMode(_) => ALERT_MODE,
            Self::Pc(_) => PC,
            Self::Symbol(_) => SYMBOL,
            Self::InPort { .. } => IN_PORT | NLA_F_NESTED,
            Self::Timestamp(_) => TIMESTAMP,
            Self::Protocol(_) => PROTO,
            Self::Payload(_) => PAYLOAD,
            Self::Pad => PAD,
            Self::TruncLen(_) => TRUNC_LEN,
            Self::OrigLen(_) => ORIG_LEN,
            Self::QueueLen(_) => QUEUE_LEN,
            Self::Stats(_) => STATS | NLA_F_NESTED,
            Self::HwStats(_) => HW_STATS | NLA_F_NESTED,
            Self::Origin(_) => ORIGIN,
            Self::HwTrapGroupName(_) => HW_TRAP_GROUP_NAME,
            Self::HwTrapName(_) => HW_TRAP_NAME,
            Self::HwEntries(_) => HW_ENTRIES | NLA_F_NESTED,
            Self::HwEntry(_) => HW_ENTRY | NLA_F_NESTED,
            Self::HwTrapCount(_) => HW_TRAP_COUNT,
            Self::SwDrops => SW_DROPS,
            Self::HwDrops => HW_DROPS,
            Self::FlowActionCookie(_) => FLOW_ACTION_COOKIE,
            Self::Reason(_) => REASON,
        }
    }

    fn value_len(&self) -> usize {
        match self {
            Self::AlertMode(_) => 1,
            Self::Protocol(_) | Self::Origin(_) => 2,
            Self::TruncLen(_) | Self::OrigLen(_) | Self::QueueLen(_) | Self::HwTrapCount(_) => 4,
            Self::Pc(_) | Self::Timestamp(_) => 8,
            Self::Stats(_) | Self::HwStats(_) => 12,
            Self::Pad | Self::SwDrops | Self::HwDrops => 0,
            Self::Sites(bytes)
            | Self::Payload(bytes)
            | Self::HwEntries(bytes)
            | Self::HwEntry(bytes)
            | Self::FlowActionCookie(bytes) => bytes.len(),
            Self::Symbol(text) | Self::HwTrapGroupName(text) | Self::HwTrapName(text) | Self::Reason(text) => {
                text.len() + 1
            }
            Self::InPort { ifindex, name } => {
                ifindex.map_or(0, |_| 8) + name.map_or(0, |name| wire::align(4 + name.len() + 1))
            }
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::AlertMode(mode) => buffer[0] = *mode,
            Self::Protocol(number) | Self::Origin(number) => buffer.copy_from_slice(&number.to_ne_bytes()),
            Self::TruncLen(number) | Self::OrigLen(number) | Self::QueueLen(number) | Self::HwTrapCount(number) => {
                buffer.copy_from_slice(&number.to_ne_bytes());
            }
            Self::Pc(number) | Self::Timestamp(number) => buffer.copy_from_slice(&number.to_ne_bytes()),
            Self::Stats(number) | Self::HwStats(number) => emit_part(buffer, STATS_DROPPED, &number.to_ne_bytes()),
            Self::Pad | Self::SwDrops | Self::HwDrops => {}
            Self::Sites(bytes)
            | Self::Payload(bytes)
            | Self::HwEntries(bytes)
            | Self::HwEntry(bytes)
            | Self::FlowActionCookie(bytes) => buffer.copy_from_slice(bytes),
            Self::Symbol(text) | Self::HwTrapGroupName(text) | Self::HwTrapName(text) | Self::Reason(text) => {
                buffer[..text.len()].copy_from_slice(text.as_bytes());
                buffer[text.len()] = 0;
            }
            Self::InPort { ifindex, name } => {
                let mut at = 0;
                if let Some(ifindex) = ifindex {
                    emit_part(&mut buffer[..8], PORT_IFINDEX, &ifindex.to_ne_bytes());
                    at = 8;
                }
                if let Some(name) = name {
                    buffer[at..].fill(0);
                    emit_part(&mut buffer[at..=at + 4 + name.len()], PORT_NAME, name.as_bytes());
                }
            }
        }
    }
}

/// Writes an attribute within another one: it fills `buffer`, and has its length.
fn emit_part(buffer: &mut [u8], kind: u16, value: &[u8]) {
    let length = u16::try_from(buffer.len()).unwrap_or(u16::MAX);
    buffer[..2].copy_from_slice(&length.to_ne_bytes());
    buffer[2..4].copy_from_slice(&kind.to_ne_bytes());
    buffer[4..4 + value.len()].copy_from_slice(value);
}
