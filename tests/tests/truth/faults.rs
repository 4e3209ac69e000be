//! Faults of services, each of which one command explains: why, whose container and process, and which connections.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::{Value, json};
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::kernel;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, Holder, drops_of, host, udp_of};
use tests::tcp::{self, Peer};
use tests::trials::trial_as_root;
use tests::wire::{SENDER, Wire, udp};

use super::flow_processes::is_process;
use super::flows::Flows;
use super::owners::in_each_mode;

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

/// The drops of these rows are of the service, where the kernel reports receivers. On an emulated machine, where searches are
/// slow, the process may be unknown.
fn are_of(service: &Holder, rows: &[&Value]) -> Result<()> {
    let (container, process) = if kernel::reports_socket()? {
        (json!(CONTAINER), json!({"pid": service.pid(), "comm": "sleep"}))
    } else {
        (Value::Null, Value::Null)
    };
    let other = rows.iter().find(|row| row["container"] != container || !is_process(row, &process));
    ensure!(other.is_none(), "not of {container}, {process}: {other:?}");
    Ok(())
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
        let service = Holder::of(socket)?;
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
        are_of(&service, &rows)
    })
}

/// A queue of connections that wait to be accepted is full: the last ACK of the handshake is dropped.
fn fault_of_a_service_that_does_not_accept() -> Result<()> {
    const BACKLOG: u16 = 20;
    kernel::reason("TCP_LISTEN_OVERFLOW")?;
    in_each_mode(|mode| {
        let (group, wire) = (ControlGroup::container(ID)?, Wire::new()?);
        let listener = group.run(|| listener(&wire.host, BACKLOG))?;
        let service = Holder::of(listener)?;
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
        are_of(&service, &rows)
    })
}

fn listener(host: &Netns, backlog: u16) -> Result<TcpListener> {
    tcp::listener_with(host, backlog.into(), |_| Ok(()))
}
