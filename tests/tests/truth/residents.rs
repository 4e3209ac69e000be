//! Packets without a socket: the container that lives in their network namespace.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio, id};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, Stat};
use tests::eventually;
use tests::netns::Netns;
use tests::trials::{Unable, trial_as_root};
use tests::wire::udp;
use tests::witness::Witness;

/// Datagrams of each test.
pub(super) const DATAGRAMS: u64 = 300;
/// Datagrams for a port at which nothing listens.
const REFUSED: Witness = Witness::Snmp("Udp", "NoPorts");

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_container_is_the_resident_of_its_namespace", a_container_is_the_resident_of_its_namespace),
        trial_as_root("a_namespace_of_two_containers_has_no_resident", a_namespace_of_two_containers_has_no_resident),
        trial_as_root("the_own_namespace_of_the_host_has_no_resident", the_own_namespace_of_the_host_has_no_resident),
        trial_as_root("forwarded_packets_have_residents", forwarded_packets_have_residents),
    ]
}

/// A process in a control group with the name of a container's.
pub(super) struct Container {
    process: Child,
    name: String,
    /// Removed after the process.
    group: ControlGroup,
}

impl Container {
    /// The container with this number in a network namespace; in that of the tests without one.
    pub(super) fn new(number: u32, host: Option<&Netns>) -> Result<Self> {
        let name = format!("{:04x}{:08x}", number, id());
        let group = ControlGroup::of_container(&format!("{name}{:052x}", 0))?;
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null());
        let mut start = || Ok(command.spawn()?);
        let process = if let Some(host) = host { host.run(start)? } else { start()? };
        let container = Self { process, name, group };
        container.group.add(container.process.id())?;
        Ok(container)
    }

    /// Its name in droptrace.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Otherwise its group cannot be removed.
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// A namespace in which only its loopback is up.
pub(super) fn host() -> Result<Netns> {
    let host = Netns::new()?;
    host.command("ip link set lo up")?;
    Ok(host)
}

/// Sends datagrams to a port; the kernel reports their refusal by the next call.
pub(super) fn send(host: &Netns, to: SocketAddr) -> Result<()> {
    let sender = udp(host, (Ipv4Addr::UNSPECIFIED, 0).into())?;
    for _ in 0..DATAGRAMS {
        _ = sender.send_to(b"droptrace", to);
    }
    drained()
}

/// The report of `stat` about residents.
struct Residents(Value);

impl Residents {
    fn during(filter: &[&str], provocation: impl FnOnce() -> Result<()>) -> Result<Self> {
        let arguments = ["stat", "--by", "netns,container,socket,flow", "--format", "json"];
        let droptrace = Droptrace::start(&[&arguments[..], filter].concat())?;
        provocation()?;
        let stat = Stat::parse(&droptrace.finish()?.stdout)?;
        let residents = Self(stat.0.clone());
        let accounted = stat.ledger("accounted")? + stat.ledger("overflow")?;
        let ledger = |part: &str| stat.0["attribution"][part].as_u64().unwrap_or_default();
        let parts = ["attributed", "unknown", "no_socket", "no_room"].map(ledger);
        ensure!(parts.iter().sum::<u64>() == accounted, "{parts:?} of {accounted}");
        let of_rows: u64 = residents.rows()?.filter(|row| row["owner_basis"] == "namespace").filter_map(packets).sum();
        ensure!(of_rows == ledger("resident"), "{of_rows} in rows: {}", stat.0["attribution"]);
        Ok(residents)
    }

    fn rows(&self) -> Result<impl Iterator<Item = &Value>> {
        let lists = ["drops", "not_packets"].map(|list| self.0[list].as_array().context("no rows"));
        let [drops, others] = lists;
        Ok(drops?.iter().chain(others?))
    }

    /// The packets without a socket in this namespace, by their resident container.
    fn packets(&self, inum: u32, container: Option<&Container>) -> Result<u64> {
        let (name, basis) = (container.map(|it| &*it.name), container.map(|_| "namespace"));
        let rows = self.rows()?.filter(|row| row["netns"] == inum && row["socket_role"].is_null());
        let rows = rows.filter(|row| (row["container"].as_str(), row["owner_basis"].as_str()) == (name, basis));
        Ok(rows.filter_map(packets).sum())
    }
}

fn packets(row: &Value) -> Option<u64> {
    row["packets"].as_u64()
}

/// Counts the refused datagrams of a namespace, and those in rows with this resident, or with none.
fn refused(host: &Netns, resident: Option<&Container>) -> Result<()> {
    let inum = host.inum().to_string();
    let residents = Residents::during(&["--netns", &inum], || send(host, (Ipv4Addr::LOCALHOST, 9).into()))?;
    let (counted, found) = (REFUSED.read(host)?, residents.packets(host.inum(), resident)?);
    ensure!(counted > 0 && found == counted, "{found} of {counted}: {}", residents.0);
    Ok(())
}

fn a_container_is_the_resident_of_its_namespace() -> Result<()> {
    let host = host()?;
    let container = Container::new(1, Some(&host))?;
    refused(&host, Some(&container))
}

fn a_namespace_of_two_containers_has_no_resident() -> Result<()> {
    let host = host()?;
    let _containers = (Container::new(2, Some(&host))?, Container::new(3, Some(&host))?);
    refused(&host, None)
}

/// A container with the host's network is one process of many there.
fn the_own_namespace_of_the_host_has_no_resident() -> Result<()> {
    let inum = u32::try_from(fs::metadata("/proc/self/ns/net")?.ino())?;
    // The parent of the kernel's threads.
    let is_host = fs::metadata("/proc/2/ns/net").is_ok_and(|file| file.ino() == u64::from(inum));
    if !is_host {
        return Err(Unable("the tests do not run in the host's own network namespace".into()).into());
    }
    let container = Container::new(4, None)?;
    let residents = Residents::during(&["--netns", &inum.to_string()], || {
        let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        for _ in 0..DATAGRAMS {
            _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
        }
        drained()
    })?;
    let (with, without) = (residents.packets(inum, Some(&container))?, residents.packets(inum, None)?);
    ensure!(with == 0 && without > 0, "{with} with a resident, {without} without: {}", residents.0);
    Ok(())
}

/// The addresses of a client and of a server behind a router.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A client, a router and a server. The router's links are `left` and `right`; its firewall drops, and counts, datagrams for
/// port 9.
pub(super) fn routed() -> Result<[Netns; 3]> {
    let (client, router, server) = (host()?, host()?, host()?);
    router.probe(&format!("ip link add left type veth peer name cable netns {}", client.path()))?;
    router.probe(&format!("ip link add right type veth peer name cable netns {}", server.path()))?;
    router.commands(
        "ip address add 10.0.1.1/24 dev left
         ip address add 10.0.2.1/24 dev right
         ip link set left up
         ip link set right up
         nft add table inet cases
         nft add counter inet cases drops
         nft add chain inet cases forward { type filter hook forward priority 0 ; }
         nft add rule inet cases forward udp dport 9 counter name drops drop",
    )?;
    router.sysctl("net/ipv4/ip_forward", "1")?;
    for (host, net) in [(&client, 1), (&server, 2)] {
        host.commands(&format!(
            "ip address add 10.0.{net}.2/24 dev cable
             ip link set cable up
             ip route add default via 10.0.{net}.1"
        ))?;
    }
    // The kernel starts transmission some time after both ends are up, and drops what is sent before.
    for (host, cable) in [(&client, "cable"), (&router, "left"), (&router, "right"), (&server, "cable")] {
        eventually("the cable", || {
            let link = host.command(&format!("ip link show dev {cable}"))?;
            Ok(link.contains("state UP") && !link.contains("qdisc noop "))
        })?;
    }
    Ok([client, router, server])
}

/// Each of the three is a container.
fn forwarded_packets_have_residents() -> Result<()> {
    let [client, router, server] = routed()?;
    let containers =
        [(5, &client), (6, &router), (7, &server)].map(|(number, host)| Container::new(number, Some(host)));
    let [_client, at_router, at_server] = containers;
    let residents = Residents::during(&[], || {
        send(&client, (SERVER, 9).into())?;
        send(&client, (SERVER, 7).into())
    })?;
    let (filtered, refused) = (Witness::Nft.read(&router)?, REFUSED.read(&server)?);
    let forwarded = residents.packets(router.inum(), Some(&at_router?))?;
    let received = residents.packets(server.inum(), Some(&at_server?))?;
    ensure!(filtered == DATAGRAMS && refused > 0, "the firewall dropped {filtered}, the server refused {refused}");
    ensure!((forwarded, received) == (filtered, refused), "{forwarded}, {received}: {}", residents.0);
    // The same rows say whose connection it was.
    let mut at_router = residents.rows()?.filter(|row| row["netns"] == router.inum() && row["dport"] == 9);
    let is_right = |row: &Value| row["src"] == "10.0.1.2" && row["dst"] == "10.0.2.2" && row["transport"] == "udp";
    ensure!(at_router.all(is_right), "{}", residents.0);
    Ok(())
}
