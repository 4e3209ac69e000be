//! Single requests to the drop monitor.

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
    /// Finds the family, whose module the kernel may load for it.
    pub(super) async fn open() -> Result<Self, Error> {
        let mut connection = Connection::open()?;
        let family = Family::resolve(&mut connection, FAMILY).await?;
        Ok(Self { connection, family })
    }

    /// Finds the family again: its numbers change when its module is loaded again. Whether they did.
    pub(super) async fn resolve_again(&mut self) -> Result<bool, Error> {
        let family = Family::resolve(&mut self.connection, FAMILY).await?;
        let changed = family != self.family;
        self.family = family;
        Ok(changed)
    }

    /// Lets a socket hear the alerts.
    pub(super) fn join(&self, socket: &Socket) -> Result<(), Error> {
        socket.join(self.family.group(GROUP)?).map_err(Error::of_joining)
    }

    /// Whether somebody monitors.
    pub(super) async fn is_running(&mut self) -> Result<bool, Error> {
        match self.ask(Request::Probe).await {
            Ok(()) => Ok(false),
            Err(error) if error.errno() == Some(libc::EBUSY) => Ok(true),
            Err(error) => Err(Error::of_control(error)),
        }
    }

    /// How the monitor is set.
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

    /// Packets that found the queue full, since the module was loaded. Needs no rights.
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

    /// A request that is only acknowledged.
    pub(super) async fn ask(&mut self, request: Request) -> Result<(), netlink::Error> {
        self.connection.call(request.name(), self.family.id, request, Kind::Do, |_| Ok(())).await
    }

    /// As [`Control::ask`], without asking whether it was done.
    pub(super) fn tell(&mut self, request: Request) -> Result<(), netlink::Error> {
        self.connection.send(request.name(), self.family.id, request, Kind::Do)
    }
}

fn empty(request: Request) -> Error {
    let source = Malformed("it is empty");
    netlink::Error::Malformed { request: request.name(), source }.into()
}
