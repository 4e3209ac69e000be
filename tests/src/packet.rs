//! `AF_PACKET` sockets: whole frames, out and in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::netns::Netns;
use crate::{patience, sys};

/// Every `EtherType`.
pub const ALL_PROTOCOLS: u16 = 0x0003;

/// A packet socket bound to one interface.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Binds to an interface of `netns` and to one `EtherType`, or to [`ALL_PROTOCOLS`].
    pub fn bind(netns: &Netns, interface: &str, protocol: u16) -> Result<Self> {
        netns.run(|| {
            // Protocol 0: receives nothing until bound.
            let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)
                .context("opening a packet socket")?;
            let index = name_to_index(&socket, interface).with_context(|| format!("looking up {interface}"))?;
            // struct sockaddr_ll, `include/uapi/linux/if_packet.h`.
            let mut address = [0; 20];
            address[..2].copy_from_slice(&AddressFamily::PACKET.as_raw().to_ne_bytes());
            address[2..4].copy_from_slice(&protocol.to_be_bytes());
            address[4..8].copy_from_slice(&index.to_ne_bytes());
            sys::bind(&socket, &address).with_context(|| format!("binding to {interface}"))?;
            set_socket_timeout(&socket, Timeout::Recv, Some(patience()))?;
            Ok(Self(socket))
        })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(&self.0, frame, SendFlags::empty()).context("sending a frame")?;
        ensure!(sent == frame.len(), "{sent} bytes sent of a frame of {}", frame.len());
        Ok(())
    }

    /// How many frames found no room, since the last call.
    pub fn dropped(&self) -> Result<u64> {
        // struct tpacket_stats: received (dropped ones too), dropped. Reading sets both to 0.
        let statistics: [u8; 8] = sys::get_option(&self.0, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        let [.., a, b, c, d] = statistics;
        Ok(u32::from_ne_bytes([a, b, c, d]).into())
    }

    /// Receives one frame.
    pub fn receive(&self) -> Result<Vec<u8>> {
        let mut frame = vec![0; 65536];
        let (length, _) = recv(&self.0, &mut frame, RecvFlags::empty()).context("receiving a frame")?;
        frame.truncate(length);
        Ok(frame)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
