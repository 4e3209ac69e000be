//! Whose packets were dropped: by the control group of the process that made the socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::Value;
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, Stat};
use tests::kernel;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, drops_of, host, overrun, udp_at, udp_of};
use tests::trials::trial_as_root;
use tests::wire::udp;
use tests::witness::Witness;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_receiver_has_an_owner", a_receiver_has_an_owner),
        trial_as_root("owners_of_ipv4_receivers_that_are_full_in_turns", || in_turns(Ipv4Addr::LOCALHOST.into())),
        trial_as_root("owners_of_ipv6_receivers_that_are_full_in_turns", || in_turns(Ipv6Addr::LOCALHOST.into())),
        trial_as_root("a_sender_has_an_owner", a_sender_has_an_owner),
        trial_as_root("packets_without_a_socket_have_no_owner", packets_without_a_socket_have_no_owner),
        trial_as_root("a_group_that_ended_keeps_its_name", a_group_that_ended_keeps_its_name),
        trial_as_root("a_group_that_ended_before_the_first_drop_is_unknown", a_group_that_ended_before_is_unknown),
    ]
}

/// The report of `stat` about the owners of drops in a namespace.
struct Owners(Value);

impl Owners {
    fn during(host: &Netns, mode: &str, provocation: impl FnOnce() -> Result<()>) -> Result<Self> {
        let inum = host.inum().to_string();
        let arguments = ["stat", "--mode", mode, "--by", "netns,cgroup,socket", "--netns", &inum, "--format", "json"];
        let droptrace = Droptrace::start(&arguments)?;
        provocation()?;
        let stat = Stat::parse(&droptrace.finish()?.stdout)?;
        let accounted = stat.ledger("accounted")? + stat.ledger("overflow")?;
        let parts = ["attributed", "unknown", "no_socket", "no_room"].map(|part| stat.0["attribution"][part].as_u64());
        ensure!(parts.iter().flatten().sum::<u64>() == accounted, "{parts:?} of {accounted}");
        Ok(Self(stat.0))
    }

    /// The packets of this namespace by the end of the group's path and by the role of the socket.
    fn packets(&self, host: &Netns, group: Option<&ControlGroup>, role: Option<&str>) -> Result<u64> {
        let name = group.and_then(|group| group.path().file_name()?.to_str());
        let rows = self.0["drops"].as_array().context("no drops")?;
        let own = rows.iter().filter(|row| row["netns"] == host.inum() && row["socket_role"].as_str() == role);
        let own = own.filter(|row| match (row["cgroup"].as_str(), name) {
            (Some(path), Some(name)) => path.rsplit('/').next() == Some(name),
            (path, name) => path.is_none() && name.is_none(),
        });
        Ok(own.filter_map(|row| row["packets"].as_u64()).sum())
    }
}

const MODES: [&str; 2] = ["tp_btf", "raw_tracepoint"];

/// Runs a test in each mode that this kernel allows.
pub(super) fn in_each_mode(run: impl Fn(&str) -> Result<()>) -> Result<()> {
    let allowed = if kernel::is_confidential() { &MODES[..1] } else { &MODES[..] };
    allowed.iter().try_for_each(|mode| run(mode).with_context(|| (*mode).to_owned()))
}

/// `kfree_skb` reports the receiver from 6.11 on; before, `udp_fail_queue_rcv_skb` does, except under lockdown.
fn a_receiver_has_an_owner() -> Result<()> {
    let group = ControlGroup::new()?;
    in_each_mode(|mode| {
        let host = host()?;
        let receiver = udp_of(&group, &host)?;
        let mut counted = 0;
        let owners = Owners::during(&host, mode, || {
            counted = overrun(&host, &receiver)?;
            Ok(())
        })?;
        ensure!(counted > 0, "the buffer was never full");
        let is_reported = reports_receiver()?;
        let (named, without) =
            (owners.packets(&host, Some(&group), Some("receiver"))?, owners.packets(&host, None, None)?);
        let expected = if is_reported { (counted, 0) } else { (0, counted) };
        ensure!((named, without) == expected, "{named} with the owner, {without} without a socket: {}", owners.0);
        Ok(())
    })
}

fn reports_receiver() -> Result<bool> {
    Ok(kernel::reports_socket()? || (kernel::reports_udp_receiver()? && !kernel::is_confidential()))
}

/// Two sockets of different groups have no room for the packets that reach them in turns.
fn in_turns(address: IpAddr) -> Result<()> {
    let groups = [ControlGroup::new()?, ControlGroup::container("a11")?];
    in_each_mode(|mode| {
        let host = host()?;
        host.sysctl("net/ipv6/conf/lo/disable_ipv6", "0")?;
        let receivers = [udp_at(&groups[0], &host, address)?, udp_at(&groups[1], &host, address)?];
        receivers.iter().try_for_each(|receiver| set_socket_recv_buffer_size(receiver, 1))?;
        let owners = Owners::during(&host, mode, || {
            let sender = udp(&host, (address, 0).into())?;
            for _ in 0..DATAGRAMS {
                for receiver in &receivers {
                    sender.send_to(&[0; 1000], receiver.local_addr()?)?;
                }
            }
            drained()
        })?;
        let mut unowned = 0;
        for (group, receiver) in groups.iter().zip(&receivers) {
            let counted = drops_of(&host, receiver.local_addr()?)?;
            let named = owners.packets(&host, Some(group), Some("receiver"))?;
            ensure!(counted > 0, "the buffer was never full");
            // Before 6.11 not all kernels fire the tracepoint for IPv6.
            let may_lack = !reports_receiver()? || (address.is_ipv6() && !kernel::reports_socket()?);
            ensure!(named == counted || (may_lack && named == 0), "{named} of {counted}: {}", owners.0);
            unowned += counted - named;
        }
        let without = owners.packets(&host, None, None)?;
        ensure!(without == unowned, "{without} without a socket: {}", owners.0);
        Ok(())
    })
}

/// A namespace whose firewall drops, and counts, datagrams for port 9 on their way out.
pub(super) fn behind_a_firewall() -> Result<Netns> {
    let host = host()?;
    host.commands(
        "nft add table inet cases
         nft add counter inet cases drops
         nft add chain inet cases output { type filter hook output priority 0 ; }
         nft add rule inet cases output udp dport 9 counter name drops drop",
    )?;
    Ok(host)
}

/// Sends datagrams that the firewall drops.
pub(super) fn refused(sender: &UdpSocket) -> Result<()> {
    for _ in 0..DATAGRAMS {
        // The firewall's refusal is an error of the call.
        _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
    }
    drained()
}

/// What a firewall drops on its way out still belongs to the socket that sent it.
fn a_sender_has_an_owner() -> Result<()> {
    let group = ControlGroup::new()?;
    in_each_mode(|mode| {
        let host = behind_a_firewall()?;
        let sender = udp_of(&group, &host)?;
        let owners = Owners::during(&host, mode, || refused(&sender))?;
        let (counted, named) = (Witness::Nft.read(&host)?, owners.packets(&host, Some(&group), Some("owner"))?);
        ensure!((counted, named) == (DATAGRAMS, DATAGRAMS), "{named} of {counted}: {}", owners.0);
        Ok(())
    })
}

fn packets_without_a_socket_have_no_owner() -> Result<()> {
    in_each_mode(|mode| {
        let host = host()?;
        let owners = Owners::during(&host, mode, || {
            let sender = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
            for _ in 0..DATAGRAMS {
                // The kernel reports the refusal by the next call.
                _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
            }
            drained()
        })?;
        let (counted, without) = (Witness::Snmp("Udp", "NoPorts").read(&host)?, owners.packets(&host, None, None)?);
        ensure!(counted > 0 && without == counted, "{without} of {counted}: {}", owners.0);
        Ok(())
    })
}

/// The name is looked up while the group exists, at the first report after its first drop.
fn a_group_that_ended_keeps_its_name() -> Result<()> {
    let group = ControlGroup::new()?;
    let name = group.path().file_name().context("no name")?.to_string_lossy().into_owned();
    let host = behind_a_firewall()?;
    let sender = udp_of(&group, &host)?;
    let inum = host.inum().to_string();
    let arguments = ["stat", "--by", "netns,cgroup", "--netns", &inum, "--format", "json", "--interval", "10ms"];
    let droptrace = Droptrace::start(&arguments)?;
    refused(&sender)?;
    droptrace.await_printed("the name of the group", |text| Ok(text.contains(&name)))?;
    group.remove()?;
    refused(&sender)?;
    let stdout = droptrace.finish()?.stdout;
    let last: Value = serde_json::from_str(stdout.lines().last().context("no report")?)?;
    let rows = last["drops"].as_array().context("no drops")?;
    let own = rows.iter().filter(|row| row["cgroup"].as_str().is_some_and(|path| path.ends_with(&name)));
    let (packets, counted): (u64, _) = (own.filter_map(|row| row["packets"].as_u64()).sum(), Witness::Nft.read(&host)?);
    ensure!((packets, counted) == (2 * DATAGRAMS, 2 * DATAGRAMS), "{packets} of {counted}: {last}");
    Ok(())
}

/// The socket outlives the group of the thread that made it. Another group has the same name by then.
fn a_group_that_ended_before_is_unknown() -> Result<()> {
    let host = behind_a_firewall()?;
    let group = ControlGroup::container("dead")?;
    let sender = udp_of(&group, &host)?;
    group.remove()?;
    let _other = ControlGroup::container("dead")?;
    in_each_mode(|mode| {
        let before = Witness::Nft.read(&host)?;
        let owners = Owners::during(&host, mode, || refused(&sender))?;
        let counted = Witness::Nft.read(&host)? - before;
        let rows = owners.0["drops"].as_array().context("no drops")?;
        let own = rows.iter().filter(|row| row["netns"] == host.inum() && row["socket_role"] == "owner");
        let unnamed = own.filter(|row| row["cgroup"].is_null() && row["cgroup_id"].is_u64());
        let packets: u64 = unnamed.filter_map(|row| row["packets"].as_u64()).sum();
        let unknown = &owners.0["attribution"]["unknown"];
        ensure!(packets == counted && *unknown == counted && counted > 0, "{packets} of {counted}: {}", owners.0);
        Ok(())
    })
}
