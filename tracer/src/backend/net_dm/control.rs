//! Single requests to the drop monitor.

use netlink_packet_core::Emitable;
use netlink_packet_generic::GenlFamily;

use super::error::Error;
use super::message::{Message, Stats};
use super::request::{Config, FAMILY, GROUP, Request};
use crate::netlink::wire::Malformed;
use crate::netlink::{self, Connection, Family, Kind, Reply, Socket};

/// The drop monitor of this kernel.
pub(super) struct Control {
    connection: Connection,
    family: Family,
}

impl Control {
    /// Finds the family. The kernel may load the family's module for that.
    pub(super) async fn open() -> Result<Self, Error> {
        let mut connection = Connection::open()?;
        let family = Family::resolve(&mut connection, FAMILY).await?;
        Ok(Self { connection, family })
    }

    /// Finds the family again: its numbers change when its module is loaded again.
    pub(super) async fn resolve_again(&mut self) -> Result<(), Error> {
        self.family = Family::resolve(&mut self.connection, FAMILY).await?;
        Ok(())
    }

    /// Subscribes a socket to the alerts.
    pub(super) fn join(&self, socket: &Socket) -> Result<(), Error> {
        socket.join(self.family.group(GROUP)?).map_err(Error::of_joining)
    }

    /// Whether the monitor runs.
    pub(super) async fn is_running(&mut self) -> Result<bool, Error> {
        match self.ask(Request::Probe).await {
            Ok(()) => Ok(false),
            Err(error) if error.errno() == Some(libc::EBUSY) => Ok(true),
            Err(error) => Err(Error::of_control(error)),
        }
    }

    /// The monitor's settings.
    pub(super) async fn config(&mut self) -> Result<Config, Error> {
        let mut found = None;
        let request = Request::ConfigGet;
        let visit = |reply: Reply<'_>| {
            if let (Message::Config(config), _) = Message::parse(reply.command, reply.attributes)? {
                found = Some(config);
            }
            Ok(())
        };
        self.connection
            .call(request.name(), self.family.id, request, Kind::Do, visit)
            .await
            .map_err(Error::of_control)?;
        found.ok_or_else(|| empty(request))
    }

    /// Packets that the queue had no room for, since the module was loaded. The request needs no capability.
    pub(super) async fn stats(&mut self) -> Result<Stats, Error> {
        let mut found = None;
        let request = Request::StatsGet;
        let visit = |reply: Reply<'_>| {
            if let (Message::Stats(stats), _) = Message::parse(reply.command, reply.attributes)? {
                found = Some(stats);
            }
            Ok(())
        };
        self.connection.call(request.name(), self.family.id, request, Kind::Do, visit).await?;
        found.ok_or_else(|| empty(request))
    }

    /// Whether a device exists that could report hardware drops: a device that devlink knows.
    pub(super) async fn has_devices(&mut self) -> bool {
        match devlink_devices(&mut self.connection).await {
            Ok(devices) => devices > 0,
            Err(error) => {
                tracing::debug!("{error}");
                false
            }
        }
    }

    /// Sends a request that the kernel only acknowledges, and waits for the acknowledgement.
    pub(super) async fn ask(&mut self, request: Request) -> Result<(), netlink::Error> {
        self.connection.call(request.name(), self.family.id, request, Kind::Do, |_| Ok(())).await
    }

    /// Sends the same request as [`Control::ask`], without waiting for the acknowledgement.
    pub(super) fn send(&mut self, request: Request) -> Result<(), netlink::Error> {
        self.connection.send(request.name(), self.family.id, request, Kind::Do)
    }
}

/// The family of devices whose drivers report more facts (`include/uapi/linux/devlink.h`).
const DEVLINK: &str = "devlink";

/// Number of devices that devlink knows: zero where the kernel has no devlink.
pub(super) async fn devlink_devices(connection: &mut Connection) -> Result<usize, Error> {
    let devlink = match Family::resolve(connection, DEVLINK).await {
        Err(netlink::Error::NoFamily { .. }) => return Ok(0),
        family => family?,
    };
    let mut devices = 0;
    let visit = |_: Reply<'_>| {
        devices += 1;
        Ok(())
    };
    let what = "the list of devlink devices (DEVLINK_CMD_GET)";
    connection.call(what, devlink.id, ListDevices, Kind::Dump, visit).await?;
    Ok(devices)
}

/// `DEVLINK_CMD_GET`
#[derive(Debug)]
struct ListDevices;

impl GenlFamily for ListDevices {
    fn family_name() -> &'static str {
        DEVLINK
    }

    fn command(&self) -> u8 {
        1
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for ListDevices {
    fn buffer_len(&self) -> usize {
        0
    }

    fn emit(&self, _buffer: &mut [u8]) {}
}

fn empty(request: Request) -> Error {
    let source = Malformed("it is empty");
    netlink::Error::Malformed { request: request.name(), source }.into()
}
