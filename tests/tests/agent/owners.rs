//! Owners in the metrics of the agent.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::agent::{Agent, Scrape};
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::eventually;
use tests::kernel;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, overrun, udp_of};
use tests::trials::trial_as_root;
use tests::wire::udp;
use tests::witness::Witness;

/// Containers so far: tests run side by side.
static CONTAINERS: AtomicU16 = AtomicU16::new(0);

const PACKETS: &str = "droptrace_dropped_packets_total";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("receivers_have_owners", receivers_have_owners),
        trial_as_root(
            "owners_without_room_are_counted_with_the_others",
            owners_without_room_are_counted_with_the_others,
        ),
        trial_as_root("series_of_owners_expire", series_of_owners_expire),
    ]
}

/// A namespace with a name, and the first digits of the ids of two containers.
struct Scene {
    host: Netns,
    netns: String,
    ids: [String; 2],
}

impl Scene {
    fn new(name: &str) -> Result<Self> {
        let netns = format!("droptrace-owners-{name}-{}", std::process::id());
        let host = Netns::named(&netns)?;
        host.command("ip link set lo up")?;
        let ids = [(); 2].map(|()| {
            let number = CONTAINERS.fetch_add(1, Ordering::Relaxed);
            format!("{:08x}{number:04x}", std::process::id())
        });
        Ok(Self { host, netns, ids })
    }
}

/// The sum of the ledger of owners is that of the ledger.
fn check_owners(scrape: &Scrape) -> Result<()> {
    scrape.check_sum()?;
    let owners = scrape.sum("droptrace_ledger_owners_total", &[]);
    let counted = |account| scrape.sum("droptrace_ledger_drops_total", &[("account", account)]);
    let counted = counted("accounted") + counted("overflow");
    ensure!(owners == counted, "{owners} in the ledger of owners, {counted} counted");
    Ok(())
}

/// `--owners` of `agent`.
fn receivers_have_owners() -> Result<()> {
    let scene = Scene::new("receivers")?;
    let groups = [ControlGroup::container(&scene.ids[0])?, ControlGroup::container(&scene.ids[1])?];
    let (with, without) = (Agent::start(&["--owners", "container,socket"])?, Agent::start(&[])?);
    let mut dropped = [0; 2];
    for (count, group) in dropped.iter_mut().zip(&groups) {
        *count = overrun(&scene.host, &udp_of(group, &scene.host)?)?;
    }
    let sender = udp(&scene.host, (Ipv4Addr::LOCALHOST, 0).into())?;
    for _ in 0..DATAGRAMS {
        // The kernel reports the refusal by the next call.
        _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
    }
    drained()?;
    let no_ports = Witness::Snmp("Udp", "NoPorts").read(&scene.host)?;
    let (with, without) = (with.settled()?, without.settled()?);
    check_owners(&with)?;
    without.check_sum()?;

    let of = |labels: &[(&str, &str)]| with.sum(PACKETS, &[&[("netns", scene.netns.as_str())], labels].concat());
    let is_reported = kernel::reports_socket()?;
    for (id, dropped) in scene.ids.iter().zip(dropped) {
        let counted = of(&[("container", id), ("socket_role", "receiver"), ("owner", "attributed")]);
        ensure!(dropped > 0 && counted == if is_reported { dropped } else { 0 }, "{counted} of {dropped} of {id}");
    }
    let unreported = if is_reported { 0 } else { dropped.iter().sum() };
    let without_socket = of(&[("reason", "NO_SOCKET"), ("container", ""), ("socket_role", ""), ("owner", "no_socket")]);
    let receivers = of(&[("reason", "SOCKET_RCVBUFF"), ("owner", "no_socket")]);
    ensure!((without_socket, receivers) == (no_ports, unreported), "{without_socket} of {no_ports} without a socket");

    let all = without.sum(PACKETS, &[("netns", scene.netns.as_str())]);
    ensure!(of(&[]) == all, "{} by owners, {all} without", of(&[]));
    let is_owner = |label: &str| ["container", "socket_role", "owner"].contains(&label);
    let has_owners = without.0.iter().any(|sample| sample.labels.iter().any(|(label, _)| is_owner(label)));
    ensure!(!has_owners && without.one("droptrace_ledger_owners_total").is_err(), "{without:?}");
    Ok(())
}

fn owners_without_room_are_counted_with_the_others() -> Result<()> {
    let scene = Scene::new("bound")?;
    let inum = scene.host.inum().to_string();
    let agent = Agent::start(&["--owners", "container", "--max-series", "1", "--netns", &inum])?;
    let group = ControlGroup::container(&scene.ids[0])?;
    let dropped = overrun(&scene.host, &udp_of(&group, &scene.host)?)?;
    let scrape = agent.settled()?;
    check_owners(&scrape)?;
    ensure!(scrape.of(PACKETS, &[]).count() == 1, "{scrape:?}");
    let others = scrape.sum(PACKETS, &[("container", "other"), ("owner", "other"), ("netns", "other")]);
    // Drops with an unknown namespace may belong to other tests.
    let unknown = scrape.sum("droptrace_ledger_drops_total", &[("account", "unknown_netns")]);
    ensure!((dropped..=dropped + unknown).contains(&others), "{others} of {dropped}");
    Ok(())
}

fn series_of_owners_expire() -> Result<()> {
    let scene = Scene::new("expire")?;
    let agent = Agent::start(&["--owners", "container", "--expire-after", "1s"])?;
    let group = ControlGroup::container(&scene.ids[0])?;
    let receiver = udp_of(&group, &scene.host)?;
    let dropped = overrun(&scene.host, &receiver)?;
    let mut before = 0;
    eventually("that the series expire", || {
        let scrape = agent.scrape()?;
        check_owners(&scrape)?;
        let expired = scrape.sum(PACKETS, &[("container", "expired"), ("owner", "expired")]);
        ensure!(expired >= before, "{expired} expired, {before} before");
        before = expired;
        Ok(expired >= dropped && scrape.sum(PACKETS, &[("netns", &scene.netns)]) == 0)
    })?;
    agent.finish().map(drop)
}
