//! Parses `NET_DM`'s messages (`net/core/drop_monitor.c`), without copying them.

use super::attribute::Attribute;
use super::request::{AlertMode, Config, command};
use crate::netlink::wire::{self, Malformed};

/// Largest number of drop sites of one summary alert of a CPU (`dm_hit_limit`); the kernel does not count hits at
/// further ones.
pub(crate) const SITES_LIMIT: u32 = 64;

/// One dropped packet. Facts that the kernel did not report are absent, or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketAlert<'m> {
    /// Address that the freeing call returns to; 0 for hardware drops.
    pub pc: u64,
    /// The drop reason's name, without prefix; absent before about Linux 5.18.
    pub reason: Option<&'m str>,
    /// Index of the interface where the packet came in; 0 if there is none.
    pub ifindex: u32,
    /// The interface's name; hardware drops only.
    pub interface: Option<&'m str>,
    /// `CLOCK_REALTIME` nanoseconds.
    pub timestamp_ns: u64,
    /// `EtherType`; absent where there are no bytes.
    pub protocol: Option<u16>,
    /// Leading bytes, from the MAC header.
    pub payload: &'m [u8],
    /// Bytes of the packet, from the MAC header.
    pub length: u32,
    /// Whether a device dropped the packet, by a devlink trap.
    pub is_hardware: bool,
    /// The trap's name.
    pub trap: Option<&'m str>,
    /// The trap's group.
    pub trap_group: Option<&'m str>,
    /// The cookie of a `tc` rule.
    pub cookie: &'m [u8],
}

/// Hits since the last alert of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SummaryAlert<'m> {
    sites: &'m [u8],
    traps: &'m [u8],
}

/// Bytes of `struct net_dm_drop_point`.
const SITE_BYTES: usize = 12;

impl<'m> SummaryAlert<'m> {
    /// Addresses of drop sites and their hits. Address 0 hints that a device's own `rx_dropped` rose, and is no count
    /// of packets.
    pub fn sites(&self) -> impl Iterator<Item = (u64, u32)> + use<'m> {
        self.sites.chunks_exact(SITE_BYTES).filter_map(|site| {
            let (pc, count) = site.split_first_chunk()?;
            Some((u64::from_ne_bytes(*pc), u32::from_ne_bytes(*count.first_chunk()?)))
        })
    }

    /// Names of devlink traps and their packets.
    pub fn traps(&self) -> impl Iterator<Item = (&'m str, u32)> + use<'m> {
        wire::attributes(self.traps).filter_map(|entry| trap(&entry.ok()?).ok())
    }

    /// Whether hits at further drop sites may not have been counted.
    pub(crate) const fn is_at_limit(&self) -> bool {
        self.sites.len() >= SITES_LIMIT as usize * SITE_BYTES
    }

    /// Checks that the lists are whole; else the message is malformed.
    fn check(sites: Option<&'m [u8]>, traps: Option<&'m [u8]>) -> Result<Self, Malformed> {
        let mut alert = Self::default();
        if let Some(bytes) = sites {
            let (count, rest) = bytes.split_first_chunk().ok_or(Malformed("a summary without a count"))?;
            let length = (u32::from_ne_bytes(*count) as usize).checked_mul(SITE_BYTES);
            alert.sites = length.and_then(|length| rest.get(..length)).ok_or(Malformed("a summary that is cut"))?;
        }
        if let Some(bytes) = traps {
            wire::attributes(bytes).try_for_each(|entry| trap(&entry?).map(drop))?;
            alert.traps = bytes;
        }
        match (sites, traps) {
            (None, None) => Err(Malformed("a summary of nothing")),
            _ => Ok(alert),
        }
    }
}

fn trap<'m>(entry: &wire::Attribute<'m>) -> Result<(&'m str, u32), Malformed> {
    let (mut name, mut count) = (None, None);
    for attribute in entry.nested() {
        match Attribute::parse(&attribute?)? {
            Some(Attribute::HwTrapName(text)) => name = Some(text),
            Some(Attribute::HwTrapCount(number)) => count = Some(number),
            _ => {}
        }
    }
    name.zip(count).ok_or(Malformed("a trap without a name or a count"))
}

/// Packets that the queue had no room for, since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of the kernel's own drops.
    pub software: u64,
    /// Number of hardware drops.
    pub hardware: u64,
}

/// A message of the drop monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'m> {
    /// `NET_DM_CMD_PACKET_ALERT`
    Packet(PacketAlert<'m>),
    /// `NET_DM_CMD_ALERT`
    Summary(SummaryAlert<'m>),
    /// `NET_DM_CMD_CONFIG_NEW`
    Config(Config),
    /// `NET_DM_CMD_STATS_NEW`
    Stats(Stats),
    /// Another command, of a future kernel.
    Unknown(u8),
}

/// Number of attributes of unknown types, which were skipped.
pub type Skipped = u32;

impl<'m> Message<'m> {
    /// Reads a message by its command and its attributes' bytes.
    pub fn parse(command: u8, attributes: &'m [u8]) -> Result<(Self, Skipped), Malformed> {
        let mut skipped = 0;
        let known = wire::attributes(attributes).filter_map(|attribute| {
            let attribute = attribute.and_then(|attribute| Attribute::parse(&attribute)).transpose();
            skipped += u32::from(attribute.is_none());
            attribute
        });
        let message = match command {
            command::PACKET_ALERT => packet(known).map(Self::Packet),
            command::ALERT => summary(known).map(Self::Summary),
            command::CONFIG_NEW => config(known).map(Self::Config),
            command::STATS_NEW => stats(known).map(Self::Stats),
            _ => Ok(Self::Unknown(command)),
        };
        Ok((message?, skipped))
    }
}

fn packet<'m>(
    attributes: impl Iterator<Item = Result<Attribute<'m>, Malformed>>,
) -> Result<PacketAlert<'m>, Malformed> {
    let mut alert = PacketAlert::default();
    let (mut has_length, mut has_site) = (false, false);
    for attribute in attributes {
        match attribute? {
            Attribute::Pc(pc) => (alert.pc, has_site) = (pc, true),
            Attribute::Reason(reason) => alert.reason = Some(reason),
            Attribute::InPort { ifindex, name } => {
                (alert.ifindex, alert.interface) = (ifindex.unwrap_or_default(), name);
            }
            Attribute::Timestamp(timestamp) => alert.timestamp_ns = timestamp,
            Attribute::Protocol(protocol) => alert.protocol = Some(protocol),
            Attribute::Payload(payload) => alert.payload = payload,
            Attribute::OrigLen(length) => (alert.length, has_length) = (length, true),
            Attribute::Origin(origin) => alert.is_hardware = origin == 1,
            Attribute::HwTrapName(trap) => (alert.trap, has_site) = (Some(trap), true),
            Attribute::HwTrapGroupName(group) => alert.trap_group = Some(group),
            Attribute::FlowActionCookie(cookie) => alert.cookie = cookie,
            // Another attribute reports the same fact, or the fact follows from the address.
            _ => {}
        }
    }
    if has_site && has_length { Ok(alert) } else { Err(Malformed("a packet without its drop site or its length")) }
}

fn summary<'m>(
    attributes: impl Iterator<Item = Result<Attribute<'m>, Malformed>>,
) -> Result<SummaryAlert<'m>, Malformed> {
    let (mut sites, mut traps) = (None, None);
    for attribute in attributes {
        match attribute? {
            Attribute::Sites(bytes) => sites = Some(bytes),
            Attribute::HwEntries(bytes) => traps = Some(bytes),
            _ => {}
        }
    }
    SummaryAlert::check(sites, traps)
}

fn config<'m>(attributes: impl Iterator<Item = Result<Attribute<'m>, Malformed>>) -> Result<Config, Malformed> {
    let (mut mode, mut trunc_len, mut queue_len) = (None, None, None);
    for attribute in attributes {
        match attribute? {
            Attribute::AlertMode(number) => mode = Some(AlertMode::from_number(number)?),
            Attribute::TruncLen(length) => trunc_len = Some(length),
            Attribute::QueueLen(length) => queue_len = Some(length),
            _ => {}
        }
    }
    match (mode, trunc_len, queue_len) {
        (Some(mode), Some(trunc_len), Some(queue_len)) => Ok(Config { mode, trunc_len, queue_len }),
        _ => Err(Malformed("settings that lack one")),
    }
}

fn stats<'m>(attributes: impl Iterator<Item = Result<Attribute<'m>, Malformed>>) -> Result<Stats, Malformed> {
    let mut stats = Stats::default();
    for attribute in attributes {
        match attribute? {
            Attribute::Stats(number) => stats.software = number,
            Attribute::HwStats(number) => stats.hardware = number,
            _ => {}
        }
    }
    Ok(stats)
}

#[cfg(test)]
mod tests;
