//! The functions through which a packet came, in the lines of `trace`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, command};
use tests::folder::Folder;
use tests::frame::{ip4, ip6, udp, udp4, udp6};
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, udp_of};
use tests::trace::Trace;
use tests::trials::trial_as_root;
use tests::wire::{SENDER, SENDER6, Wire};
use tests::witness::Witness;

use super::owners::{behind_a_firewall, in_each_mode, refused};

/// More than the 1,024 drops of which one has its stack taken.
const WRITTEN: u64 = 3_000;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_stack_leads_from_the_site_to_the_sender", a_stack_leads_from_the_site_to_the_sender),
        trial_as_root("a_line_has_no_stack_unless_it_is_asked_for", a_line_has_no_stack_unless_it_is_asked_for),
        trial_as_root("a_recording_has_the_stacks", a_recording_has_the_stacks),
        trial_as_root("a_sample_has_stacks_and_all_are_counted", a_sample_has_stacks_and_all_are_counted),
        trial_as_root("stacks_are_folded", stacks_are_folded),
        trial_as_root("a_stack_shows_the_netfilter_hook", a_stack_shows_the_netfilter_hook),
    ]
}

/// Drops of a firewall, which run in the sender's system call.
fn provoked(host: &Netns) -> Result<()> {
    let group = ControlGroup::new()?;
    refused(&udp_of(&group, host)?)
}

/// The same, and more of them by another system call.
fn provoked_in_two_ways(host: &Netns) -> Result<()> {
    let group = ControlGroup::new()?;
    let sender = udp_of(&group, host)?;
    refused(&sender)?;
    sender.connect((Ipv4Addr::LOCALHOST, 9))?;
    for _ in 0..WRITTEN {
        // The firewall refuses it.
        _ = rustix::io::write(&sender, b"droptrace");
    }
    drained()
}

/// A firewall drops packets at each hook, by their port.
const HOOKS: [(u64, &str); 5] =
    [(11, "prerouting"), (12, "input"), (13, "forward"), (14, "output"), (15, "postrouting")];

/// A router behind a wire: each hook drops the datagrams to its port.
fn router() -> Result<Wire> {
    let wire = Wire::with_ipv6()?;
    wire.host.sysctl("net/ipv4/ip_forward", "1")?;
    wire.host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    wire.host.commands(
        "ip route add 10.9.0.0/24 dev host0
         ip route add fd09::/64 dev host0",
    )?;
    wire.host.probe("nft add table inet cases")?;
    for (port, hook) in HOOKS {
        wire.host.probe(&format!(
            "nft 'add chain inet cases {hook} {{ type filter hook {hook} priority 0 ; }}'
             nft add rule inet cases {hook} udp dport {port} drop"
        ))?;
    }
    Ok(wire)
}

fn at_each_hook(wire: &Wire) -> Result<()> {
    for port in [11, 12] {
        wire.send(&udp4(port)?)?;
        wire.send(&udp6(port)?)?;
    }
    wire.send(&udp(ip4(SENDER, Ipv4Addr::new(10, 9, 0, 1), 64), 13, b"droptrace")?)?;
    wire.send(&udp(ip6(SENDER6, Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1), 64), 13, b"droptrace")?)?;
    let own = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), (Ipv6Addr::UNSPECIFIED, 0).into()];
    let other = [IpAddr::from(SENDER), SENDER6.into()];
    for (own, other) in own.into_iter().zip(other) {
        let sender = tests::wire::udp(&wire.host, own)?;
        for port in [14, 15] {
            // The firewall's refusal is an error of the call.
            _ = sender.send_to(b"droptrace", (other, port));
        }
    }
    drained()
}

fn a_stack_shows_the_netfilter_hook() -> Result<()> {
    in_each_mode(|mode| {
        let wire = router()?;
        let netns = wire.host.inum().to_string();
        let trace = Trace::during(&["--all", "--stack", "--mode", mode, "--netns", &netns], || at_each_hook(&wire))?;
        for (family, protocol) in [("ip", "ipv4"), ("ip6", "ipv6")] {
            for (port, hook) in HOOKS {
                let is_it = |drop: &&Value| {
                    let destination = drop["destination"].as_str().unwrap_or_default();
                    drop["protocol"] == protocol && destination.ends_with(&format!(":{port}"))
                };
                let found: Vec<_> = trace.drops.iter().filter(is_it).collect();
                let [drop] = found[..] else {
                    anyhow::bail!("{} drops at {family} {hook}: {:?}", found.len(), trace.drops)
                };
                let expected = json!({"family": family, "hook": hook, "is_bridged": false});
                ensure!(
                    drop["netfilter_hook"] == expected,
                    "{} instead of {expected}: {}",
                    drop["netfilter_hook"],
                    drop["stack"]
                );
            }
        }
        Ok(())
    })
}

/// The functions of a line's stack.
fn stack(drop: &Value) -> Result<Vec<&str>> {
    let functions = drop["stack"].as_array().with_context(|| format!("no stack: {drop}"))?;
    functions.iter().map(|function| function.as_str().context("a function that is no text")).collect()
}

/// A stack begins at the drop site, and passes the functions of the system call in their order.
fn is_of_the_sender(drop: &Value) -> Result<()> {
    const CALLERS: [&str; 2] = ["udp_sendmsg+", "__sys_sendto+"];
    let stack = stack(drop)?;
    let (symbol, offset) =
        (drop["symbol"].as_str().context("no symbol")?, drop["offset"].as_u64().context("no offset")?);
    let site = format!("{symbol}+{offset:#x}");
    ensure!(stack[0].split(' ').next() == Some(&site), "{} instead of {site}", stack[0]);
    let found = CALLERS.map(|caller| stack.iter().position(|function| function.starts_with(caller)));
    ensure!(found[0] > Some(0) && found[1] > found[0], "{CALLERS:?} at {found:?} of {stack:?}");
    Ok(())
}

fn a_stack_leads_from_the_site_to_the_sender() -> Result<()> {
    in_each_mode(|mode| {
        let host = behind_a_firewall()?;
        let netns = host.inum().to_string();
        let trace = Trace::during(&["--all", "--stack", "--mode", mode, "--netns", &netns], || provoked(&host))?;
        ensure!(trace.drops.len() as u64 == DATAGRAMS, "{} of {DATAGRAMS} drops", trace.drops.len());
        trace.drops.iter().try_for_each(is_of_the_sender)
    })
}

fn a_line_has_no_stack_unless_it_is_asked_for() -> Result<()> {
    let host = behind_a_firewall()?;
    let trace = Trace::during(&["--all", "--netns", &host.inum().to_string()], || provoked(&host))?;
    ensure!(trace.drops.len() as u64 == DATAGRAMS, "{} of {DATAGRAMS} drops", trace.drops.len());
    let other = trace.drops.iter().find(|drop| drop.get("stack") != Some(&Value::Null));
    ensure!(other.is_none(), "{other:?}");
    Ok(())
}

fn a_recording_has_the_stacks() -> Result<()> {
    let host = behind_a_firewall()?;
    let folder = Folder::new("recorded-stacks")?;
    let file = folder.path("drops.jsonl");
    let netns = host.inum().to_string();
    let droptrace = Droptrace::start(&["trace", "--raw", "--stack", "--netns", &netns, "-o", &file])?;
    provoked(&host)?;
    droptrace.finish()?;
    let replayed = Droptrace::spawn(&mut command(&["replay", "--format", "json", &file])?)?.wait()?.stdout;
    let lines = replayed.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let drops: Vec<_> = lines.iter().filter(|line| line["schema"] == "droptrace.drop.v1").collect();
    ensure!(drops.len() as u64 == DATAGRAMS, "{} of {DATAGRAMS} drops", drops.len());
    drops.into_iter().try_for_each(is_of_the_sender)
}

/// `--stack` of `stat`. The two ways into the kernel are distinguished, each sampled drop has a stack, and the sample does not
/// change the counts.
fn a_sample_has_stacks_and_all_are_counted() -> Result<()> {
    in_each_mode(|mode| {
        let host = behind_a_firewall()?;
        let netns = host.inum().to_string();
        let droptrace = Droptrace::start(&["stat", "--stack", "--format", "json", "--mode", mode, "--netns", &netns])?;
        provoked_in_two_ways(&host)?;
        let report: Value = serde_json::from_str(&droptrace.finish()?.stdout)?;
        let number = |value: &Value| value.as_u64().with_context(|| format!("no number in {report}"));
        let all = DATAGRAMS + WRITTEN;
        let counted: u64 =
            report["drops"].as_array().context("no drops")?.iter().filter_map(|row| row["packets"].as_u64()).sum();
        ensure!((counted, Witness::Nft.read(&host)?) == (all, all), "{counted} of {all} drops");
        let [site] = report["stacks"].as_array().context("no stacks")?.as_slice() else {
            anyhow::bail!("not one drop site: {}", report["stacks"])
        };
        let events = &report["sources"][0]["ledger"]["events"];
        let (sampled, delivered) = (number(&site["sampled"])?, number(&events["delivered"])?);
        ensure!(number(&site["drops"])? == all && sampled == delivered && sampled < all / 10, "{site} {events}");
        let stacks = site["stacks"].as_array().context("no list of stacks")?;
        let mut with_stack = 0;
        for stack in stacks {
            with_stack += number(&stack["samples"])?;
        }
        ensure!(with_stack == sampled, "{with_stack} of {sampled} samples have a stack");
        for caller in ["__sys_sendto+", "vfs_write+"] {
            let is_there = stacks.iter().any(|stack| stack["functions"].to_string().contains(caller));
            ensure!(is_there, "no stack leads to {caller}: {site}");
        }
        Ok(())
    })
}

/// `--format folded`: functions from the outermost on, the reason, and the samples.
fn stacks_are_folded() -> Result<()> {
    let host = behind_a_firewall()?;
    let droptrace = Droptrace::start(&["stat", "--stack", "--format", "folded", "--netns", &host.inum().to_string()])?;
    provoked(&host)?;
    let folded = droptrace.finish()?.stdout;
    ensure!(!folded.is_empty(), "no stack");
    for line in folded.lines() {
        let (functions, samples) = line.rsplit_once(' ').with_context(|| format!("no samples: {line}"))?;
        let functions: Vec<_> = functions.split(';').collect();
        let at = |name: &str| functions.iter().position(|function| *function == name);
        ensure!(
            samples.parse::<u64>()? > 0 && at("__sys_sendto").is_some() && at("__sys_sendto") < at("udp_sendmsg"),
            "{line}"
        );
    }
    Ok(())
}
