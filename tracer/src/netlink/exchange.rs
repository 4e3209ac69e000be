//! Requests and their answers without a runtime: the calling thread waits. The answers are read as those of
//! [`super::Connection`].

use std::io;
use std::os::fd::AsFd as _;

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{self, Timeout};

use super::error::Error;
use super::request::{ANSWER, Kind, PATIENCE, Replies, TOO_LONG, header, with_header};
use super::wire::{Malformed, Message};

/// A socket for requests to a protocol of netlink, one after another, in the network namespace that the thread was in when it
/// opened the socket.
pub(super) struct Exchange {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

impl Exchange {
    /// Opens a socket of this protocol, one of `NETLINK_…` (`include/uapi/linux/netlink.h`).
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        sockopt::set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, answer: Vec::new() })
    }

    /// Sends a request, and passes each reply to `visit`. `what` names the request in errors; `body` has the bytes after the
    /// header of a message of this type.
    pub(super) fn call(
        &mut self,
        what: &'static str,
        message_type: u16,
        body: &[u8],
        kind: Kind,
        mut visit: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = with_header(header(kind, self.sequence), message_type, body);
        let sent = self.socket.send_to(&request, &SocketAddr::new(0, 0), 0);
        sent.map_err(|source| Error::Send { request: what, source })?;
        loop {
            if !self.receive(what)? {
                continue;
            }
            let mut replies = Replies::of(what, &self.answer, self.sequence, kind);
            for reply in &mut replies {
                visit(&reply?).map_err(|source| Error::Malformed { request: what, source })?;
            }
            if replies.is_complete() {
                return Ok(());
            }
        }
    }

    /// Receives a datagram. Returns whether it is one of the kernel.
    fn receive(&mut self, what: &'static str) -> Result<bool, Error> {
        self.answer.clear();
        self.answer.reserve(ANSWER);
        let received = self.socket.recv_from(&mut self.answer, libc::MSG_TRUNC);
        let (length, sender) = received.map_err(|source| Error::Receive { source })?;
        if length > self.answer.len() {
            return Err(Error::Malformed { request: what, source: TOO_LONG });
        }
        Ok(sender.port_number() == 0)
    }
}

/// Asks a protocol for a list in the network namespace of the calling thread, as [`Exchange::call`] does.
pub(super) fn list(
    protocol: isize,
    what: &'static str,
    message_type: u16,
    body: &[u8],
    visit: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
) -> io::Result<()> {
    Ok(Exchange::open(protocol)?.call(what, message_type, body, Kind::LooseDump, visit)?)
}

#[cfg(test)]
mod tests {
    use netlink_sys::protocols::NETLINK_ROUTE;

    use super::*;

    /// `RTM_GETLINK` and `RTM_NEWLINK` (`include/uapi/linux/rtnetlink.h`), and the length in bytes of `struct ifinfomsg`.
    const GET_LINK: u16 = 18;
    const NEW_LINK: u16 = 16;
    const BODY: usize = 16;

    #[test]
    fn socket_serves_one_request_after_another() {
        let mut exchange = Exchange::open(NETLINK_ROUTE).unwrap();
        for kind in [Kind::Do, Kind::LooseDump, Kind::Do] {
            let mut body = [0; BODY];
            body[4] = u8::from(kind == Kind::Do);
            let mut replies = Vec::new();
            exchange
                .call("RTM_GETLINK", GET_LINK, &body, kind, |reply| {
                    replies.push(reply.header.message_type);
                    Ok(())
                })
                .unwrap();
            assert!(replies.iter().all(|reply| *reply == NEW_LINK), "{replies:?}");
            assert!(if kind == Kind::Do { replies.len() == 1 } else { !replies.is_empty() }, "{replies:?}");
        }
        let refused = exchange.call("RTM_GETLINK", GET_LINK, &[0xff; BODY], Kind::Do, |_| Ok(())).unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
        exchange.call("RTM_GETLINK", GET_LINK, &[0; BODY], Kind::LooseDump, |_| Ok(())).unwrap();
    }
}
