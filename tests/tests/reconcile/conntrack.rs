//! The full table of connection tracking, whose size is one for the whole machine.

use std::net::UdpSocket;
use std::{fs, io};

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Stat};
use tests::machine::is_emulated;
use tests::netns::Netns;
use tests::trials::Unable;
use tests::wire::udp;

/// Most entries of a network namespace. Other namespaces of the machine have as many for themselves.
const MOST: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const ROOM: u64 = 4;
/// Connections, one for each socket.
const CONNECTIONS: u64 = 60;

/// A host that tracks connections, with a socket that receives their packets.
struct Host {
    netns: Netns,
    receiver: UdpSocket,
}

impl Host {
    fn new() -> Result<Self> {
        let netns = Netns::new()?;
        netns.command("ip link set lo up")?;
        netns.probe(
            "nft add table ip tracked
             nft 'add chain ip tracked output { type filter hook output priority 0 ; }'
             nft add rule ip tracked output ct state new counter",
        )?;
        let receiver = udp(&netns, "127.0.0.1:0".parse()?)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { netns, receiver })
    }

    /// Sends a packet of each connection. Returns how many the kernel dropped, as it reported to the senders, which is what the
    /// receiver misses.
    fn connect(&self) -> Result<u64> {
        let to = self.receiver.local_addr()?;
        let mut refused = 0;
        for _ in 0..CONNECTIONS {
            match udp(&self.netns, "127.0.0.1:0".parse()?)?.send_to(b"x", to) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        drained()?;
        let received = (0..CONNECTIONS).take_while(|_| self.receiver.recv(&mut [0; 8]).is_ok()).count() as u64;
        ensure!(received + refused == CONNECTIONS, "{received} received, {refused} refused");
        Ok(refused)
    }
}

/// The size of the table, which is set back at the end.
struct Size(String);

impl Size {
    fn set(size: u64) -> Result<Self> {
        let before = fs::read_to_string(MOST)?;
        fs::write(MOST, size.to_string())?;
        Ok(Self(before))
    }
}

impl Drop for Size {
    fn drop(&mut self) {
        _ = fs::write(MOST, &self.0);
    }
}

pub(super) fn full_table_of_connection_tracking() -> Result<()> {
    if !is_emulated() {
        return Err(Unable("the size of the table is one for the whole machine".into()).into());
    }
    let host = Host::new()?;
    let _resident = host.netns.resident()?;
    let inum = host.netns.inum().to_string();
    let _size = Size::set(ROOM)?;
    let droptrace = Droptrace::start(&["reconcile", "--format", "json", "--netns", &inum])?;
    let mut refused = 0;
    let stat = Stat::during(&["--netns", &inum], || {
        refused = host.connect()?;
        Ok(())
    })?;
    let report: Value = serde_json::from_str(&droptrace.finish()?.stdout)?;
    ensure!(refused > 0 && refused <= CONNECTIONS - ROOM, "{refused} of {CONNECTIONS} were refused");
    let counters = report["counters"].as_array().into_iter().flatten();
    let rows: Vec<_> =
        counters.filter(|row| row["counter"].as_str().is_some_and(|it| it.contains("conntrack"))).collect();
    let drop = rows.iter().find(|row| row["counter"] == "conntrack_drop");
    ensure!(drop.is_some_and(|row| row["most"] == refused && row["outside"] == 0), "{refused} were refused: {rows:?}");
    ensure!(report["wrong"] == 0, "{report}");
    let dropped: Vec<_> = stat.drops()?.into_iter().map(|row| (row.symbol, row.packets)).collect();
    ensure!(dropped == [(Some("nf_hook_slow".to_owned()), refused)], "{refused} were refused: {dropped:?}");
    ensure!(stat.outside(host.netns.inum())?.is_empty(), "{}", stat.0["outside"]);
    Ok(())
}
