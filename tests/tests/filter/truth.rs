//! Filters count exactly the drops that match; all others are `filtered`.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::Value;
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::droptrace::{Drops, Droptrace, Stat};
use tests::frame::{ip4, tagged, udp, udp4, udp6};
use tests::kernel::{self, Known};
use tests::netns::Netns;
use tests::owned::{self, DATAGRAMS, drops_of};
use tests::trials::{Unable, trial_as_root};
use tests::wire::{HOST, Wire, udp as udp_socket};

use crate::loads;

/// A second address of the sender.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// Packets from the sender to port 9, from [`OTHER`] with few hops left to port 7, over IPv6 to port 9, and to port 9 in a
/// VLAN that the firewall refuses where it still sees the tag: later, the kernel forgets it.
const PLAIN: u64 = 3;
const FAR: u64 = 5;
const SIX: u64 = 7;
const TAGGED: u64 = 2;
const ALL: u64 = PLAIN + FAR + SIX + TAGGED;
const VLAN: u16 = 5;

/// Filters, and how many of the packets match. The IPv4 packets are whole in all bytes that the filters ask for.
const FILTERS: [(&str, u64); 17] = [
    ("udp dst port 9", PLAIN + SIX + TAGGED),
    ("ip and udp port 9", PLAIN + TAGGED),
    ("src host 10.0.0.3", FAR),
    ("src host 10.0.0.1 and not dst port 7", PLAIN + TAGGED),
    ("ip[8] > 5", PLAIN + TAGGED),
    ("ip6 or udp[2:2] = 7", SIX + FAR),
    ("net fd00::/64 or host 10.0.0.3", SIX + FAR),
    ("vlan", TAGGED),
    ("vlan 5 and udp port 9", TAGGED),
    ("vlan 6", 0),
    ("ether src 02:00:00:00:00:01", ALL),
    ("less 60 and ether[12:2] = 0x86dd", 0),
    ("tcp", 0),
    ("iface host0 and udp port 7", FAR),
    ("iface lo or iface sender0", 0),
    ("netns self", 0),
    ("site *udp*_rcv or site *udp*6*rcv", PLAIN + FAR + SIX),
];

/// A test in one attach mode.
type Test = fn(&'static str) -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let in_both = |(name, run): (&str, Test)| {
        ["tp_btf", "raw_tracepoint"].map(|mode| {
            trial_as_root(&format!("{name}_by_{mode}"), move || {
                let is_allowed = mode == "tp_btf" || !kernel::is_confidential();
                ensure!(is_allowed, Unable("this kernel is locked down".to_owned()));
                run(mode)
            })
        })
    };
    let trials: [(&str, Test); 6] = [
        ("matching_drops_are_counted", matching_drops_are_counted),
        ("reasons_select", reasons_select),
        ("matching_drops_are_recorded", matching_drops_are_recorded),
        ("control_groups_select", control_groups_select),
        ("users_select", users_select),
        ("sockets_of_the_kernel_are_no_users", sockets_of_the_kernel_are_no_users),
    ];
    trials.into_iter().flat_map(in_both).collect()
}

/// The stage, with the packets that are dropped there.
struct Stage {
    wire: Wire,
    frames: [(u64, Vec<u8>); 4],
}

impl Stage {
    fn new() -> Result<Self> {
        let wire = Wire::with_ipv6()?;
        wire.host.command("ip neighbour replace 10.0.0.3 lladdr 02:00:00:00:00:01 dev host0 nud permanent")?;
        wire.refuse_vlan(VLAN)?;
        let tagged = tagged(udp4(9)?, VLAN);
        let far = udp(ip4(OTHER, HOST, 3), 7, b"droptrace")?;
        let frames = [(PLAIN, udp4(9)?), (FAR, far), (SIX, udp6(9)?), (TAGGED, tagged)];
        Ok(Self { wire, frames })
    }

    fn send(&self) -> Result<()> {
        self.frames.iter().try_for_each(|(times, frame)| self.wire.repeat(*times, frame))?;
        drained()
    }

    /// Drops of the host that a filter selects, and the report.
    fn counted(&self, mode: &str, filter: &str) -> Result<(Vec<Drops>, Stat)> {
        let stat = Stat::during(&["--mode", mode, "--filter", filter], || self.send())?;
        let inum = u64::from(self.wire.host.inum());
        let drops = stat.drops()?.into_iter().filter(|drop| drop.netns == inum).collect();
        Ok((drops, stat))
    }

    /// The number of these drops; all others of the stage must be filtered.
    fn number(&self, mode: &str, filter: &str) -> Result<u64> {
        let (drops, stat) = self.counted(mode, filter)?;
        let counted = drops.iter().map(|drop| drop.packets).sum::<u64>();
        let filtered = stat.ledger("filtered")?;
        ensure!(filtered >= ALL - counted.min(ALL), "{filtered} filtered, {counted} counted: {drops:#?}");
        Ok(counted)
    }
}

/// Each filter and its opposite, or where there is time for few filters, one of both in turn.
fn matching_drops_are_counted(mode: &str) -> Result<()> {
    let stage = Stage::new()?;
    for (at, (filter, expected)) in FILTERS.into_iter().enumerate() {
        let both = [(filter.to_owned(), expected), (format!("not ({filter})"), ALL - expected)];
        let asked = if loads::number()? < 2 * FILTERS.len() { &both[at % 2..=at % 2] } else { &both[..] };
        for (filter, expected) in asked {
            let counted = stage.number(mode, filter)?;
            ensure!(counted == *expected, "{filter}: {counted} drops, not {expected}");
        }
    }
    let inum = stage.wire.host.inum();
    let counted = stage.number(mode, &format!("netns {inum} and (port 7 or netns self)"))?;
    ensure!(counted == FAR, "in the namespace: {counted}");
    let (drops, stat) = stage.counted(mode, &format!("netns {inum}"))?;
    let packets = drops.iter().map(|drop| drop.packets).sum::<u64>();
    ensure!(stat.ledger("accounted")? == packets && packets == ALL, "drops of other namespaces: {:#?}", stat.drops());
    Ok(())
}

fn reasons_select(mode: &str) -> Result<()> {
    ensure!(kernel::reason("NO_SOCKET")? != Known::NoReasons, Unable("this kernel has no reasons".to_owned()));
    let stage = Stage::new()?;
    for (filter, expected) in [
        ("reason NO_SOCKET", PLAIN + FAR + SIX),
        ("reason NO_S* and port 7", FAR),
        ("reason SOCKET_RCVBUFF", 0),
        ("not reason NO_SOCKET", TAGGED),
    ] {
        let counted = stage.number(mode, filter)?;
        ensure!(counted == expected, "{filter}: {counted} drops, not {expected}");
    }
    Ok(())
}

fn matching_drops_are_recorded(mode: &str) -> Result<()> {
    let stage = Stage::new()?;
    let filter = "src host 10.0.0.3 and udp";
    let droptrace = Droptrace::start(&["trace", "--mode", mode, "--format", "json", "--all", "--filter", filter])?;
    stage.send()?;
    let finished = droptrace.finish()?;
    let lines: Vec<Value> = finished.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let is_own = |line: &&Value| line["netns"] == stage.wire.host.inum();
    let own: Vec<_> = lines.iter().filter(is_own).collect();
    ensure!(own.len() as u64 == FAR, "{} records: {}", own.len(), finished.stdout);
    let stray = own.iter().find(|line| !line["destination"].is_null() && line["destination"] != "10.0.0.2:7");
    ensure!(stray.is_none(), "not as the filter says: {stray:?}");
    Ok(())
}

/// The filter asks for the control group, and the rows are not by control group.
fn control_groups_select(mode: &str) -> Result<()> {
    ensure!(
        kernel::reports_socket()?,
        Unable("before Linux 6.11 receivers are known only after a drop is counted".to_owned())
    );
    let groups = [ControlGroup::new()?, ControlGroup::new()?];
    let host = owned::host()?;
    let receivers = [owned::udp_of(&groups[0], &host)?, owned::udp_of(&groups[1], &host)?];
    receivers.iter().try_for_each(|receiver| set_socket_recv_buffer_size(receiver, 1))?;
    let name = groups[0].path().file_name().and_then(|name| name.to_str()).context("no name")?;
    let filter = format!("cgroup *{name}");
    let stat = Stat::during(&["--mode", mode, "--filter", &filter], || overrun(&host, &receivers))?;
    let expected = drops_of(&host, receivers[0].local_addr()?)?;
    let others = drops_of(&host, receivers[1].local_addr()?)?;
    let rows = stat.drops()?;
    let counted: u64 = rows.iter().map(|drop| drop.packets).sum();
    ensure!(expected > 0 && others > 0, "a buffer was never full");
    ensure!(counted == expected, "{counted} of {expected}: {rows:#?}");
    ensure!(stat.ledger("filtered")? >= others, "drops of the other group are counted: {rows:#?}");
    let by_group = rows.iter().find(|drop| drop.cgroup.is_some() || drop.socket_role.is_some());
    ensure!(by_group.is_none(), "rows by control group: {by_group:#?}");
    Ok(())
}

/// Of two full sockets, the filter selects that of one user.
fn users_select(mode: &str) -> Result<()> {
    const USER: u32 = 4_711;
    ensure!(kernel::reports_socket()?, Unable("before Linux 6.11 the kernel does not report receivers".to_owned()));
    let host = owned::host()?;
    let receivers = [owned::udp_by(&host, USER)?, owned::udp_by(&host, 0)?];
    receivers.iter().try_for_each(|receiver| set_socket_recv_buffer_size(receiver, 1))?;
    let inum = host.inum();
    let mut before = [0, 0];
    for (filter, selected) in
        [("uid 4711", [true, false]), ("uid root", [false, true]), ("not uid 4711", [false, true])]
    {
        let filter = format!("netns {inum} and reason SOCKET_RCVBUFF and ({filter})");
        let stat = Stat::during(&["--mode", mode, "--filter", &filter], || overrun(&host, &receivers))?;
        let mut dropped = [0, 0];
        for (at, receiver) in receivers.iter().enumerate() {
            let sum = drops_of(&host, receiver.local_addr()?)?;
            dropped[at] = sum - before[at];
            before[at] = sum;
        }
        ensure!(dropped[0] > 0 && dropped[1] > 0, "a buffer was never full");
        let of =
            |is_selected: bool| (0..2).filter(|at| selected[*at] == is_selected).map(|at| dropped[at]).sum::<u64>();
        let counted: u64 = stat.drops()?.iter().map(|drop| drop.packets).sum();
        ensure!(counted == of(true), "{filter}: {counted} counted of {dropped:?}");
        ensure!(stat.ledger("filtered")? >= of(false), "{filter}: drops of the other user are counted: {dropped:?}");
    }
    Ok(())
}

/// The kernel sends ICMP errors through sockets of its own, whose `sk_uid` is 0.
fn sockets_of_the_kernel_are_no_users(mode: &str) -> Result<()> {
    const ERRORS: u64 = 6;
    let host = owned::host()?;
    host.probe(
        "nft add table inet t
         nft 'add chain inet t o { type filter hook output priority 0; }'
         nft add rule inet t o ip protocol icmp drop",
    )?;
    let sender = udp_socket(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
    let provoke = || {
        for _ in 0..ERRORS {
            sender.send_to(&[0; 100], (Ipv4Addr::LOCALHOST, 9))?;
        }
        drained()
    };
    let inum = host.inum();
    for (filter, expected) in [("uid 0", 0), ("not uid 0", ERRORS)] {
        let filter = format!("netns {inum} and icmp and {filter}");
        let stat = Stat::during(&["--mode", mode, "--filter", &filter], provoke)?;
        let counted: u64 = stat.drops()?.iter().map(|drop| drop.packets).sum();
        ensure!(counted == expected, "{filter}: {counted}, not {expected}");
    }
    Ok(())
}

/// Sends to both sockets, in turns, more than they have room for.
fn overrun(host: &Netns, receivers: &[std::net::UdpSocket; 2]) -> Result<()> {
    let sender = udp_socket(host, (Ipv4Addr::LOCALHOST, 0).into())?;
    for _ in 0..DATAGRAMS {
        for receiver in receivers {
            sender.send_to(&[0; 1000], receiver.local_addr()?)?;
        }
    }
    drained()
}
