//! Compares the listeners with the facts that a socket reports about itself.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fd::OwnedFd;
use rustix::fs::fstat;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use serde_json::Value;
use tests::netns::Netns;
use tests::sys;

use crate::json;

/// `RTNLGRP_LINK`, as a bit.
const LINK: u32 = 1;

/// Links come and go, and no program reads the messages, so the socket fills up. The list shows the same facts as the
/// socket.
pub(crate) fn a_listener_that_misses_multicasts() -> Result<()> {
    let host = Netns::new()?;
    let socket = host.run(|| {
        // No protocol is NETLINK_ROUTE, which is 0.
        let socket = net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
        sockopt::set_socket_recv_buffer_size(&socket, 1)?;
        net::bind(&socket, &SocketAddrNetlink::new(0, LINK))?;
        Ok(socket)
    })?;
    for _ in 0..20 {
        host.command("ip link set lo up")?;
        host.command("ip link set lo down")?;
    }
    let inode = fstat(&socket)?.st_ino;
    let details = host.run(|| json(&["listeners"]))?;
    let listener = |list: &Value| -> Result<Value> {
        let listeners = crate::list(list, "listeners")?;
        listeners.iter().find(|listener| listener["inode"] == inode).cloned().context("the socket is not listed")
    };
    let inside = listener(&details)?;
    let capacity = sockopt::socket_recv_buffer_size(&socket)?;
    ensure!(inside["groups"][0]["name"] == "LINK" && inside["protocol_name"] == "ROUTE", "{inside}");
    ensure!(inside["netns"] == host.inum() && inside["processes"][0]["pid"] == std::process::id(), "{inside}");
    ensure!(inside["capacity"].is_null() || inside["capacity"] == capacity, "{inside}, the buffer is {capacity}");
    let (used, drops) = memory(&socket)?;
    ensure!(inside["used"] == used && inside["drops"] == drops && drops > 0, "{inside}: {used} used, {drops} dropped");
    // From outside, the namespace is reached through a process in it.
    let guest = host.run(|| Ok(Command::new("sleep").arg("60").spawn()?));
    let outside = json(&["listeners"]).and_then(|list| listener(&list));
    let mut guest = guest?;
    guest.kill()?;
    guest.wait()?;
    let outside = outside?;
    ensure!(outside["drops"] == drops && outside["netns"] == host.inum(), "{outside}");
    Ok(())
}

/// Bytes that wait in a socket, and messages that it had no room for (`SK_MEMINFO_…`).
fn memory(socket: &OwnedFd) -> Result<(u32, u32)> {
    let reported: [u8; 36] = sys::get_option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    let (used, drops) = (reported.first_chunk().context("no bytes")?, reported.last_chunk().context("no bytes")?);
    Ok((u32::from_ne_bytes(*used), u32::from_ne_bytes(*drops)))
}
