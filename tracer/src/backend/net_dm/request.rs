//! Requests to `NET_DM` (`net/core/drop_monitor.c`).

use netlink_packet_core::Emitable;
use netlink_packet_generic::GenlFamily;
use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use crate::netlink::wire::Malformed;

/// The family's name.
pub const FAMILY: &str = "NET_DM";

/// The multicast group of the alerts.
pub const GROUP: &str = "events";

/// `NET_DM_CMD_…`.
pub(super) mod command {
    pub(crate) const ALERT: u8 = 1;
    pub(crate) const CONFIG: u8 = 2;
    pub(crate) const START: u8 = 3;
    pub(crate) const STOP: u8 = 4;
    pub(crate) const PACKET_ALERT: u8 = 5;
    pub(crate) const CONFIG_GET: u8 = 6;
    pub(crate) const CONFIG_NEW: u8 = 7;
    pub(crate) const STATS_GET: u8 = 8;
    pub(crate) const STATS_NEW: u8 = 9;
}

/// The alert mode (`enum net_dm_alert_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertMode {
    /// Alerts report hits by drop site, a second after the first one.
    Summary,
    /// Alerts report each packet.
    Packet,
}

impl AlertMode {
    /// The name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Packet => "packet",
        }
    }

    pub(super) fn from_number(number: u8) -> Result<Self, Malformed> {
        match number {
            0 => Ok(Self::Summary),
            1 => Ok(Self::Packet),
            _ => Err(Malformed("an alert mode that is not known")),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Summary => 0,
            Self::Packet => 1,
        }
    }
}

/// The monitor's settings, which hold for the whole host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The alert mode.
    pub mode: AlertMode,
    /// Bytes that payloads are cut to; 0 for whole packets.
    pub trunc_len: u32,
    /// Packets that may wait, per CPU. Since Linux 5.4, as `trunc_len`.
    pub queue_len: u32,
}

/// The kinds of drops that START and STOP apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Drops of the kernel itself.
    pub software: bool,
    /// Drops that devices report through devlink traps.
    pub hardware: bool,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Changes nothing; the kernel answers EBUSY exactly while the monitor runs.
    Probe,
    /// Changes the settings; the kernel refuses the request while the monitor runs.
    Config(Config),
    /// Asks for the settings.
    ConfigGet,
    /// Starts monitoring, for the whole host.
    Start(Drops),
    /// Stops monitoring, for the whole host.
    Stop(Drops),
    /// Asks for the number of packets that the queue had no room for.
    StatsGet,
}

impl Request {
    /// The request's name in errors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Probe => "whether the drop monitor runs (an empty NET_DM_CMD_CONFIG)",
            Self::Config(_) => "the drop monitor's settings (NET_DM_CMD_CONFIG)",
            Self::ConfigGet => "to report the drop monitor's settings (NET_DM_CMD_CONFIG_GET)",
            Self::Start(_) => "to start the drop monitor (NET_DM_CMD_START)",
            Self::Stop(_) => "to stop the drop monitor (NET_DM_CMD_STOP)",
            Self::StatsGet => "to report the drop monitor's statistics (NET_DM_CMD_STATS_GET)",
        }
    }

    fn attributes(&self) -> impl Iterator<Item = Attribute<'static>> {
        let attributes = match self {
            Self::Probe | Self::ConfigGet | Self::StatsGet => [None; 3],
            Self::Config(Config { mode, trunc_len, queue_len }) => [
                Some(Attribute::AlertMode(mode.number())),
                Some(Attribute::TruncLen(*trunc_len)),
                Some(Attribute::QueueLen(*queue_len)),
            ],
            Self::Start(drops) | Self::Stop(drops) => {
                [drops.software.then_some(Attribute::SwDrops), drops.hardware.then_some(Attribute::HwDrops), None]
            }
        };
        attributes.into_iter().flatten()
    }
}

impl GenlFamily for Request {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        match self {
            Self::Probe | Self::Config(_) => command::CONFIG,
            Self::ConfigGet => command::CONFIG_GET,
            Self::Start(_) => command::START,
            Self::Stop(_) => command::STOP,
            Self::StatsGet => command::STATS_GET,
        }
    }

    fn version(&self) -> u8 {
        2
    }
}

impl Emitable for Request {
    fn buffer_len(&self) -> usize {
        self.attributes().map(|attribute| attribute.buffer_len()).sum()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let mut at = 0;
        for attribute in self.attributes() {
            let length = attribute.buffer_len();
            attribute.emit(&mut buffer[at..at + length]);
            at += length;
        }
    }
}
