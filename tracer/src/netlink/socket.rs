//! A netlink socket.

use std::io;
use std::os::fd::AsFd as _;

use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use rustix::net::sockopt;
use tokio::io::unix::AsyncFd;

use super::error::Error;
use super::{debug, sys};

/// A bound socket. `NETLINK_NO_ENOBUFS` stays unset, so that the kernel reports a full buffer, as
/// [`super::Received::Overrun`].
pub struct Socket {
    socket: AsyncFd<RawSocket>,
    is_generic: bool,
}

impl Socket {
    /// Opens a socket for generic netlink, as [`Socket::of`] does.
    pub fn open() -> Result<Self, Error> {
        Self::of(NETLINK_GENERIC)
    }

    /// Opens and binds a socket, with extended acknowledgements that do not repeat the request, and strict checks if
    /// the kernel has them (4.20). Must be called within a tokio runtime. `protocol` is one of `NETLINK_…`
    /// (`include/uapi/linux/netlink.h`); the kernel may load the module that answers it.
    pub fn of(protocol: isize) -> Result<Self, Error> {
        Self::from_raw(protocol, raw(protocol).map_err(|source| Error::Open { source })?)
    }

    /// As [`Socket::of`], with a socket that [`raw`] opened, perhaps on a thread in another network namespace: there the
    /// socket stays.
    pub fn from_raw(protocol: isize, socket: RawSocket) -> Result<Self, Error> {
        let option = |option| move |source| Error::Option { option, source };
        socket.set_ext_ack(true).map_err(option("NETLINK_EXT_ACK"))?;
        socket.set_cap_ack(true).map_err(option("NETLINK_CAP_ACK"))?;
        if let Err(error) = socket.set_netlink_get_strict_chk(true) {
            tracing::debug!("no strict checks by this kernel's netlink: {error}");
        }
        let socket = sys::watch(socket).map_err(|source| Error::Open { source })?;
        Ok(Self { socket, is_generic: protocol == NETLINK_GENERIC })
    }

    /// Joins a multicast group: the socket receives the group's messages from now on.
    pub fn join(&self, group: u32) -> Result<(), Error> {
        self.socket.get_ref().add_membership(group).map_err(|source| Error::Join { group, source })
    }

    /// Leaves a multicast group.
    pub fn leave(&self, group: u32) -> Result<(), Error> {
        self.socket.get_ref().drop_membership(group).map_err(|source| Error::Join { group, source })
    }

    /// Sets the receive buffer to `bytes`, beyond the system's limit (`net.core.rmem_max`) if the process has
    /// `CAP_NET_ADMIN`. Returns the obtained size, which includes the kernel's own overhead and may be twice as large.
    pub(crate) fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        let socket = self.socket.get_ref().as_fd();
        if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
            sockopt::set_socket_recv_buffer_size(socket, bytes)?;
        }
        Ok(sockopt::socket_recv_buffer_size(socket)?)
    }

    /// Sends one message to the kernel, which has handled the message when this returns.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        debug::sent(message, self.is_generic);
        let sent = self.socket.get_ref().send_to(message, &SocketAddr::new(0, 0), 0)?;
        if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Waits until the socket may be readable.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await?.clear_ready();
        Ok(())
    }

    /// The number of datagrams for which this socket had no room since it was opened, modulo 2³² (`SO_MEMINFO`).
    pub fn dropped(&self) -> io::Result<u32> {
        sys::dropped(self.socket.get_ref().as_fd())
    }

    /// Returns whether the messages of this socket have a generic netlink header.
    pub(super) const fn is_generic(&self) -> bool {
        self.is_generic
    }

    pub(super) fn raw(&self) -> &RawSocket {
        self.socket.get_ref()
    }
}

/// Opens a bound socket that does not block.
pub fn raw(protocol: isize) -> io::Result<RawSocket> {
    let mut socket = RawSocket::new(protocol)?;
    socket.set_non_blocking(true)?;
    socket.bind_auto()?;
    Ok(socket)
}
