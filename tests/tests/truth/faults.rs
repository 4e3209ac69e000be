//! Faults of services, each of which one command explains: why, whose container and process, and which connections.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::{Value, json};
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::kernel;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, drops_of, host, udp_of};
use tests::tcp::{self, Peer};
use tests::trials::trial_as_root;
use tests::wire::{SENDER, Wire, udp};

use super::flows::Flows;
use super::owners::in_each_mode;
use super::processes::{await_comm, is_emulated};

/// The first digits of the container's id, and as droptrace shows it.
const ID: &str = "fa11";
const CONTAINER: &str = "fa1100000000";
const BY: &str = "reason,container,process,flow";

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("fault_of_a_service_that_does_not_read", fault_of_a_service_that_does_not_read),
        trial_as_root("fault_of_a_service_that_does_not_accept", fault_of_a_service_that_does_not_accept),
    ]
}

/// A process that alone has a socket open, of a container, and does nothing with it.
struct Service(Child);

impl Service {
    fn of(socket: OwnedFd) -> Result<Self> {
        let service = Self(Command::new("sleep").arg("600").stdin(socket).spawn()?);
        await_comm(&service.0, "sleep")?;
        Ok(service)
    }

    /// The drops of these rows are of the service, where the kernel reports receivers. On an emulated machine, where
    /// searches are slow, the process may be unknown.
    fn has(&self, rows: &[&Value]) -> Result<()> {
        let (container, process) = if kernel::reports_socket()? {
            (json!(CONTAINER), json!({"pid": self.0.id(), "comm": "sleep"}))
        } else {
            (Value::Null, Value::Null)
        };
        let is_known = |row: &Value| row["process"] == process || (is_emulated() && row["process"].is_null());
        let other = rows.iter().find(|row| row["container"] != container || !is_known(row));
        ensure!(other.is_none(), "not of {container}, {process}: {other:?}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The rows of packets for a port, and their sum.
fn to_port(flows: &Flows, port: u16) -> Result<(Vec<&Value>, u64)> {
    let rows: Vec<_> = flows.rows()?.iter().filter(|row| row["dport"] == port).collect();
    let packets = rows.iter().filter_map(|row| row["packets"].as_u64()).sum();
    Ok((rows, packets))
}

fn has_reason(rows: &[&Value], reason: &'static str) -> Result<()> {
    let shown = kernel::reason(reason)?.shown();
    let other = rows.iter().find(|row| row["reason"].as_str() != shown);
    ensure!(other.is_none(), "not {reason}: {other:?}");
    Ok(())
}

/// A receive buffer is full.
fn fault_of_a_service_that_does_not_read() -> Result<()> {
    let group = ControlGroup::container(ID)?;
    in_each_mode(|mode| {
        let host = host()?;
        let socket = udp_of(&group, &host)?;
        set_socket_recv_buffer_size(&socket, 1)?;
        let address = socket.local_addr()?;
        let service = Service::of(socket.into())?;
        let sender = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
        let flows = Flows::during(&host, mode, BY, || {
            for _ in 0..DATAGRAMS {
                sender.send_to(&[0; 1000], address)?;
            }
            drained()
        })?;
        let (rows, packets) = to_port(&flows, address.port())?;
        let counted = drops_of(&host, address)?;
        ensure!(counted > 0 && packets == counted && rows.len() == 1, "{packets} of {counted}: {rows:#?}");
        has_reason(&rows, "SOCKET_RCVBUFF")?;
        ensure!(rows[0]["sport"] == sender.local_addr()?.port() && rows[0]["src"] == "127.0.0.1", "{}", rows[0]);
        service.has(&rows)
    })
}

/// A queue of connections that wait to be accepted is full: the last ACK of the handshake is dropped.
fn fault_of_a_service_that_does_not_accept() -> Result<()> {
    const BACKLOG: u16 = 20;
    kernel::reason("TCP_LISTEN_OVERFLOW")?;
    in_each_mode(|mode| {
        let (group, wire) = (ControlGroup::container(ID)?, Wire::new()?);
        let listener = group.run(|| listener(&wire.host, BACKLOG))?;
        let service = Service::of(listener)?;
        for port in 0..BACKLOG {
            Peer::connect(&wire, 1000 + port)?;
        }
        // One more than the backlog is taken.
        let late = 2001..2000 + BACKLOG;
        let flows = Flows::during(&wire.host, mode, BY, || {
            let mut peers: Vec<_> = (2000..late.end).map(Peer::new).collect();
            // The host forgets half-open connections of a busy listener within seconds (`reqsk_timer_handler`).
            peers.iter_mut().try_for_each(|peer| peer.open(&wire))?;
            peers.iter().try_for_each(|peer| wire.send(&peer.segment(b"", |_| ())?))?;
            drained()
        })?;
        let (rows, packets) = to_port(&flows, tcp::SERVER_PORT)?;
        let ports: BTreeSet<_> = rows.iter().filter_map(|row| row["sport"].as_u64()).collect();
        let is_each = packets == late.len() as u64 && ports == late.map(u64::from).collect();
        ensure!(is_each && rows.iter().all(|row| row["src"] == SENDER.to_string()), "{packets}: {rows:#?}");
        has_reason(&rows, "TCP_LISTEN_OVERFLOW")?;
        service.has(&rows)
    })
}

fn listener(host: &Netns, backlog: u16) -> Result<OwnedFd> {
    Ok(tcp::listener_with(host, backlog.into(), |_| Ok(()))?.into())
}
