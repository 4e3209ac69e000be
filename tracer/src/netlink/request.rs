//! Sends requests and receives their answers.

use std::fmt;
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use tokio::time::{Instant, timeout_at};

use super::error::{Error, Refusal};
use super::receive::{Received, Receiver};
use super::socket::Socket;
use super::wire::{self, Malformed, Message, Messages};

/// The greatest time to wait for an answer. The kernel answers at once unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The size in bytes of the receive buffer. A part of a dump fills the buffer up to 32 KiB (`netlink_recvmsg`); a dump
/// that needs larger parts (`min_dump_alloc`) can use this much.
pub(super) const ANSWER: usize = 64 << 10;

/// The kind of answer that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A single answer: an acknowledgement, with a reply before it if the command has one.
    Do,
    /// A list (`NLM_F_DUMP`).
    Dump,
    /// A list that may have changed while the kernel made it (`NLM_F_DUMP_INTR`): some entries may be missing.
    LooseDump,
}

/// A datagram that does not fit into the room for it.
pub(super) const TOO_LONG: Malformed = Malformed("it is longer than a netlink message may be");

/// A reply.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'r> {
    /// The command of the reply.
    pub command: u8,
    /// The bytes of the reply's attributes, for [`wire::attributes`].
    pub attributes: &'r [u8],
}

/// A command of [`Connection::batch`].
#[derive(Clone, Debug)]
pub struct BatchCommand {
    /// The type of the message, with the number of the subsystem in its high byte.
    pub message_type: u16,
    /// Flags besides `NLM_F_REQUEST`, such as `NLM_F_CREATE`.
    pub flags: u16,
    /// The bytes after the header of the message.
    pub body: Vec<u8>,
}

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END` (`include/uapi/linux/netfilter/nfnetlink.h`).
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// A socket for requests to the kernel, one after another.
pub struct Connection {
    socket: Socket,
    receiver: Receiver,
    sequence: u32,
}

impl Connection {
    /// Opens a connection to generic netlink. Must be called within a tokio runtime.
    pub fn open() -> Result<Self, Error> {
        Ok(Self::by(Socket::open()?))
    }

    /// A connection with this socket.
    pub fn by(socket: Socket) -> Self {
        Self { socket, receiver: Receiver::new(8, ANSWER), sequence: 0 }
    }

    /// Sends a request, and passes each reply to `visit`. `what` names the request in errors.
    ///
    /// The caller may abandon a call: the next call skips the answers to it.
    pub(crate) async fn call<F: GenlFamily + Emitable + fmt::Debug>(
        &mut self,
        what: &'static str,
        family: u16,
        request: F,
        kind: Kind,
        mut visit: impl FnMut(Reply<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        self.send(what, family, request, kind)?;
        let visit = |message: &Message<'_>| {
            let (command, attributes) = message.generic()?;
            visit(Reply { command, attributes })
        };
        self.answers(what, kind, visit).await
    }

    /// The same as `Connection::call` for other protocols than generic netlink. `body` has the bytes after the header
    /// of a message of this type, and so has each reply that `visit` receives.
    pub async fn call_raw(
        &mut self,
        what: &'static str,
        message_type: u16,
        body: &[u8],
        kind: Kind,
        visit: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        let bytes = with_header(self.next_header(kind), message_type, body);
        self.socket.send(&bytes).map_err(|source| Error::Send { request: what, source })?;
        self.answers(what, kind, visit).await
    }

    /// Sends commands of which a subsystem of nfnetlink executes all or none (`nfnetlink_rcv_batch`,
    /// `net/netfilter/nfnetlink.c`), and waits until it has.
    pub async fn batch(&mut self, what: &'static str, subsystem: u16, commands: &[BatchCommand]) -> Result<(), Error> {
        let mut header = self.next_header(Kind::Do);
        let marker = [&[0, 0][..], &subsystem.to_be_bytes()].concat();
        let mut bytes = Vec::new();
        header.flags = NLM_F_REQUEST;
        append(&mut bytes, header, BATCH_BEGIN, &marker);
        for (index, command) in commands.iter().enumerate() {
            // The kernel answers the commands in their order, so the answer to the last one is the end.
            let acknowledged = if index + 1 == commands.len() { NLM_F_ACK } else { 0 };
            header.flags = NLM_F_REQUEST | acknowledged | command.flags;
            append(&mut bytes, header, command.message_type, &command.body);
        }
        header.flags = NLM_F_REQUEST;
        append(&mut bytes, header, BATCH_END, &marker);
        self.socket.send(&bytes).map_err(|source| Error::Send { request: what, source })?;
        self.answers(what, Kind::Do, |_| Ok(())).await
    }

    /// Passes each reply to the last request to `visit`, until the answer is complete.
    async fn answers(
        &mut self,
        what: &'static str,
        kind: Kind,
        mut visit: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.receiver.receive(&self.socket).map_err(|source| Error::Receive { source })? {
                Received::Datagrams(_) => {
                    for datagram in self.receiver.datagrams() {
                        if datagram.is_truncated {
                            return Err(Error::Malformed { request: what, source: TOO_LONG });
                        }
                        let mut replies = Replies::of(what, datagram.bytes, self.sequence, kind);
                        for reply in &mut replies {
                            visit(&reply?).map_err(|source| Error::Malformed { request: what, source })?;
                        }
                        if replies.is_complete() {
                            return Ok(());
                        }
                    }
                }
                Received::Overrun => return Err(Error::AnswerLost { request: what }),
                Received::Nothing => match timeout_at(deadline, self.socket.readable()).await {
                    Ok(readable) => readable.map_err(|source| Error::Receive { source })?,
                    Err(_) => return Err(Error::Timeout { request: what, after: PATIENCE }),
                },
            }
        }
    }

    /// Sends a request without waiting for the answer. The kernel has handled or refused the request when this returns.
    pub fn send<F: GenlFamily + Emitable + fmt::Debug>(
        &mut self,
        what: &'static str,
        family: u16,
        request: F,
        kind: Kind,
    ) -> Result<(), Error> {
        let bytes = encode(family, request, self.next_header(kind));
        self.socket.send(&bytes).map_err(|source| Error::Send { request: what, source })
    }

    fn next_header(&mut self, kind: Kind) -> NetlinkHeader {
        self.sequence = self.sequence.wrapping_add(1);
        header(kind, self.sequence)
    }
}

/// The header of a request, without its type and length.
pub(super) fn header(kind: Kind, sequence: u32) -> NetlinkHeader {
    let mut header = NetlinkHeader::default();
    header.sequence_number = sequence;
    header.flags = match kind {
        Kind::Do => NLM_F_REQUEST | NLM_F_ACK,
        // The end of the list is the acknowledgement.
        Kind::Dump | Kind::LooseDump => NLM_F_REQUEST | NLM_F_DUMP,
    };
    header
}

/// A request of another protocol than generic netlink; `body` has the bytes after the header.
pub(super) fn with_header(header: NetlinkHeader, message_type: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, header, message_type, body);
    bytes
}

/// Appends a message, padded to the next multiple of 4.
fn append(bytes: &mut Vec<u8>, mut header: NetlinkHeader, message_type: u16, body: &[u8]) {
    let length = wire::NETLINK_HEADER + body.len();
    header.message_type = message_type;
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    let start = bytes.len();
    bytes.resize(start + wire::NETLINK_HEADER, 0);
    header.emit(&mut bytes[start..]);
    bytes.extend_from_slice(body);
    bytes.resize(start + wire::align(length), 0);
}

fn encode<F: GenlFamily + Emitable + fmt::Debug>(family: u16, request: F, header: NetlinkHeader) -> Vec<u8> {
    let mut message = GenlMessage::from_payload(request);
    message.set_resolved_family_id(family);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The replies in a datagram to one request. An error is the last one.
pub(super) struct Replies<'d> {
    what: &'static str,
    messages: Messages<'d>,
    sequence: u32,
    kind: Kind,
    has_ended: bool,
    is_complete: bool,
}

impl<'d> Replies<'d> {
    /// `what` names the request with this sequence number in errors.
    pub(super) fn of(what: &'static str, datagram: &'d [u8], sequence: u32, kind: Kind) -> Self {
        let messages = wire::messages(datagram);
        Self { what, messages, sequence, kind, has_ended: false, is_complete: false }
    }

    /// Whether the last of the replies was the end of the answer.
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The next reply; absent at the end of the answer, and at that of the datagram.
    fn reply(&mut self) -> Result<Option<Message<'d>>, Error> {
        let what = self.what;
        let malformed = |source| Error::Malformed { request: what, source };
        while let Some(message) = self.messages.next().transpose().map_err(malformed)? {
            let flags = message.header.flags;
            if message.header.sequence_number != self.sequence {
                continue;
            }
            if self.kind == Kind::Dump && flags & NLM_F_DUMP_INTR != 0 {
                return Err(Error::Interrupted { request: what });
            }
            let refusal = match message.header.message_type {
                NLMSG_NOOP => continue,
                NLMSG_ERROR => Refusal::parse(flags, message.payload),
                NLMSG_DONE => Refusal::parse_done(flags, message.payload),
                _ => return Ok(Some(message)),
            };
            if let Some(source) = refusal.map_err(malformed)? {
                return Err(Error::Refused { request: what, source });
            }
            self.is_complete = true;
            break;
        }
        Ok(None)
    }
}

impl<'d> Iterator for Replies<'d> {
    type Item = Result<Message<'d>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let reply = self.reply().transpose();
        self.has_ended = !matches!(reply, Some(Ok(_)));
        reply
    }
}
