//! Drops by the process that has the socket open, and by the user who made the socket.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::{Value, json};
use tests::case::drained;
use tests::droptrace::Droptrace;
use tests::kernel;
use tests::machine::is_emulated;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, Holder, host, udp_by};
use tests::trials::{Unable, trial_as_root};
use tests::wire::udp;
use tests::witness::Witness;

use super::flows::Flows;
use super::owners::{behind_a_firewall, in_each_mode, refused};
use super::processes::own_process;

const USER: u32 = 4711;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("flow_of_a_receiver_has_process_and_user", flow_of_a_receiver_has_process_and_user),
        trial_as_root("flow_of_a_sender_has_process_and_user", flow_of_a_sender_has_process_and_user),
        trial_as_root("flow_of_a_closed_socket_has_no_other_process", flow_of_a_closed_socket_has_no_other_process),
        trial_as_root("process_in_a_filter_selects_records", process_in_a_filter_selects_records),
    ]
}

/// A process that alone has a socket open, and reads nothing from it.
struct Receiver {
    process: Holder,
    comm: &'static str,
    uid: u32,
    address: SocketAddr,
}

impl Receiver {
    fn start(host: &Netns, command: &[&'static str], uid: u32) -> Result<Self> {
        let socket = udp_by(host, uid)?;
        set_socket_recv_buffer_size(&socket, 1)?;
        let address = socket.local_addr()?;
        Ok(Self { process: Holder::run(command, socket)?, comm: command[0], uid, address })
    }

    /// Sends this number of datagrams; returns the kernel's own count of those that found the buffer full.
    fn overrun(&self, host: &Netns, datagrams: u64) -> Result<u64> {
        const ERRORS: Witness = Witness::Snmp("Udp", "RcvbufErrors");
        let (before, sender) = (ERRORS.read(host)?, udp(host, (Ipv4Addr::LOCALHOST, 0).into())?);
        for _ in 0..datagrams {
            sender.send_to(&[0; 1000], self.address)?;
        }
        drained()?;
        Ok(ERRORS.read(host)? - before)
    }
}

/// Whether a row has this process. On an emulated machine, where searches are slow, it may be unknown.
pub(super) fn is_process(row: &Value, process: &Value) -> bool {
    row["process"] == *process || (is_emulated() && row["process"].is_null())
}

/// The drops for this port have this process and user, and are as many.
fn has(flows: &Flows, port: u16, (process, uid): (Value, Value), packets: u64) -> Result<()> {
    let rows: Vec<_> = flows.rows()?.iter().filter(|row| row["dport"] == port).collect();
    let are_right = rows.iter().all(|row| is_process(row, &process) && row["uid"] == uid);
    let sum: u64 = rows.iter().filter_map(|row| row["packets"].as_u64()).sum();
    ensure!(are_right && rows.len() == 1 && sum == packets && sum > 0, "{packets} of {process}, {uid}: {rows:#?}");
    Ok(())
}

/// The kernel reports receivers from 6.11 on. A packet without a socket is in a row without a process.
fn flow_of_a_receiver_has_process_and_user() -> Result<()> {
    in_each_mode(|mode| {
        let host = host()?;
        let receivers = [
            Receiver::start(&host, &["sleep", "600"], 0)?,
            Receiver::start(&host, &["tail", "-f", "/dev/null"], USER)?,
        ];
        let mut counted = [0; 2];
        let flows = Flows::during(&host, mode, "process,user,dport", || {
            counted = [receivers[0].overrun(&host, DATAGRAMS)?, receivers[1].overrun(&host, 2 * DATAGRAMS)?];
            _ = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
            drained()
        })?;
        for (Receiver { process, comm, uid, address }, counted) in receivers.iter().zip(counted) {
            let known = (json!({"pid": process.pid(), "comm": comm}), json!(uid));
            let expected = if kernel::reports_socket()? { known } else { (Value::Null, Value::Null) };
            has(&flows, address.port(), expected, counted)?;
        }
        has(&flows, 9, (Value::Null, Value::Null), 1)
    })
}

fn flow_of_a_sender_has_process_and_user() -> Result<()> {
    in_each_mode(|mode| {
        let host = behind_a_firewall()?;
        let sender = udp_by(&host, USER)?;
        let flows = Flows::during(&host, mode, "user,process,dport,reason", || refused(&sender))?;
        has(&flows, 9, (own_process()?, json!(USER)), Witness::Nft.read(&host)?)
    })
}

/// Sockets that lived for one datagram, beside another process: their drops are of nobody, or of this process, and all of
/// nobody are one row.
fn flow_of_a_closed_socket_has_no_other_process() -> Result<()> {
    in_each_mode(|mode| {
        let host = behind_a_firewall()?;
        let _other = Receiver::start(&host, &["sleep", "600"], 0)?;
        let flows = Flows::during(&host, mode, "process", || {
            for _ in 0..DATAGRAMS {
                let sender = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
                _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
            }
            drained()
        })?;
        let (rows, own) = (flows.rows()?, own_process()?);
        let other = rows.iter().find(|row| !row["process"].is_null() && row["process"] != own);
        let packets: u64 = rows.iter().filter_map(|row| row["packets"].as_u64()).sum();
        let sent = Witness::Nft.read(&host)?;
        ensure!(other.is_none() && rows.len() <= 2 && packets == sent, "{packets} of {sent}: {rows:#?}");
        Ok(())
    })
}

/// Records of one of two processes are shown, and the ledger has those of the other as filtered.
fn process_in_a_filter_selects_records() -> Result<()> {
    ensure!(kernel::reports_socket()?, Unable("before Linux 6.11 the kernel does not report receivers".to_owned()));
    in_each_mode(|mode| {
        let host = host()?;
        let receivers = [
            Receiver::start(&host, &["tail", "-f", "/dev/null"], USER)?,
            Receiver::start(&host, &["sleep", "600"], 0)?,
        ];
        // The socket of the second one is new when droptrace has just searched the processes for the first.
        let filter = format!("netns {} and reason SOCKET_RCVBUFF and process sleep", host.inum());
        let options = ["trace", "--format", "json", "--all", "--mode", mode, "--filter", &filter];
        let droptrace = Droptrace::start(&options)?;
        let dropped = receivers.iter().map(|to| to.overrun(&host, DATAGRAMS)).collect::<Result<Vec<u64>>>()?;
        let finished = droptrace.finish()?;
        let mut lines: Vec<Value> = finished.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let ledger = lines.pop().context("no ledger")?["sources"][0]["ledger"].clone();
        let other = lines.iter().find(|line| line["process"]["pid"] != receivers[1].process.pid());
        ensure!(other.is_none(), "another process: {other:?}");
        let (shown, sum) = (lines.len() as u64, dropped.iter().sum::<u64>());
        // A search in an emulated machine may take longer than it is allowed to.
        ensure!(shown == dropped[1] || shown < dropped[1] && is_emulated(), "{shown} of {dropped:?}");
        ensure!(ledger["accounted"] == shown && ledger["unrecorded"] == 0, "{shown} shown: {ledger}");
        ensure!(ledger["filtered"].as_u64() >= Some(sum - shown), "{dropped:?}: {ledger}");
        let parts = ["accounted", "overflow", "filtered"].iter().filter_map(|part| ledger[*part].as_u64()).sum::<u64>();
        ensure!(ledger["hits"] == parts, "{ledger}");
        Ok(())
    })
}
