//! Packets without a socket on a virtual link of the host: the container at the other end.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tests::droptrace::{Droptrace, Stat};
use tests::netns::Netns;
use tests::trace::Trace;
use tests::trials::{Unable, trial_as_root};
use tests::witness::Witness;

use super::residents::{CLIENT, Container, DATAGRAMS, SERVER, routed, send};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_link_has_the_container_at_its_other_end", a_link_has_the_container_at_its_other_end),
        trial_as_root("lines_have_the_container_at_the_other_end", lines_have_the_container_at_the_other_end),
        trial_as_root("a_link_to_two_containers_has_none", a_link_to_two_containers_has_none),
        trial_as_root("a_link_that_went_keeps_its_container", a_link_that_went_keeps_its_container),
    ]
}

/// Starts droptrace in the namespace of the links.
fn start(host: &Netns, arguments: &[&str]) -> Result<Droptrace> {
    let inum = host.inum().to_string();
    host.run(|| Droptrace::start(&[arguments, &["--netns", &inum, "--format", "json"]].concat()))
}

/// The packets of the rows with these values of some members.
fn packets(report: &Value, wanted: &Value) -> Result<u64> {
    let rows = report["drops"].as_array().context("no drops")?;
    let wanted = wanted.as_object().context("no members")?;
    let found = rows.iter().filter(|row| wanted.iter().all(|(name, value)| row[name] == *value));
    Ok(found.filter_map(|row| row["packets"].as_u64()).sum())
}

/// What the router drops comes from a container on each side. Its own packets belong to its own sockets.
fn a_link_has_the_container_at_its_other_end() -> Result<()> {
    let [client, router, server] = routed()?;
    router.command("nft add chain inet cases output { type filter hook output priority 0 ; }")?;
    router.command("nft add rule inet cases output udp dport 9 counter name drops drop")?;
    let (at_client, at_server) = (Container::new(11, Some(&client))?, Container::new(12, Some(&server))?);
    for by in ["interface,container,socket", "container,socket"] {
        let before = Witness::Nft.read(&router)?;
        let droptrace = start(&router, &["stat", "--by", by])?;
        send(&client, (SERVER, 9).into())?;
        send(&server, (CLIENT, 9).into())?;
        send(&server, (CLIENT, 9).into())?;
        send(&router, (SERVER, 9).into())?;
        let stat = Stat::parse(&droptrace.finish()?.stdout)?.0;
        ensure!(Witness::Nft.read(&router)? - before == 4 * DATAGRAMS, "the firewall did not drop all");
        for (container, link, expected) in [(&at_client, "left", DATAGRAMS), (&at_server, "right", 2 * DATAGRAMS)] {
            let owner = json!({"container": container.name(), "owner_basis": "peer_namespace", "socket_role": null});
            ensure!(packets(&stat, &owner)? == expected, "not {expected} by {by} of {owner}: {stat}");
            if by.contains("interface") {
                let interface = json!({"interface": link, "container": container.name()});
                ensure!(packets(&stat, &interface)? == expected, "not {expected} of {interface}: {stat}");
            }
        }
        let own = json!({"socket_role": "owner", "container": null, "owner_basis": "socket"});
        ensure!(packets(&stat, &own)? == DATAGRAMS, "not {DATAGRAMS} by {by} of the router itself: {stat}");
        let resident = &stat["attribution"]["resident"];
        ensure!(*resident == 3 * DATAGRAMS, "{resident} resident: {stat}");
    }
    Ok(())
}

/// The same for each drop, with the ledger of owners.
fn lines_have_the_container_at_the_other_end() -> Result<()> {
    let [client, router, server] = routed()?;
    let containers = [Container::new(13, Some(&client))?, Container::new(14, Some(&server))?];
    let droptrace = start(&router, &["trace", "--all"])?;
    send(&client, (SERVER, 9).into())?;
    send(&server, (CLIENT, 9).into())?;
    let stdout = droptrace.finish()?.stdout;
    let trace = Trace::parse(&stdout)?;
    for (link, container) in [("left", &containers[0]), ("right", &containers[1])] {
        let drops: Vec<_> = trace.drops.iter().filter(|drop| drop["interface"] == link).collect();
        let is_right = |drop: &&Value| {
            drop["container"] == container.name()
                && drop["owner_basis"] == "peer_namespace"
                && drop["process"].is_null()
        };
        ensure!(drops.len() as u64 == DATAGRAMS && drops.iter().all(is_right), "{link}: {drops:#?}");
    }
    let ledger: Value = serde_json::from_str(stdout.lines().last().context("no ledger")?)?;
    let (owners, counts) = (&ledger["attribution"], &ledger["sources"][0]["ledger"]);
    let accounted = counts["accounted"].as_u64().zip(counts["overflow"].as_u64()).map(|(one, other)| one + other);
    let parts = ["attributed", "unknown", "no_socket", "no_room"].map(|part| owners[part].as_u64().unwrap_or_default());
    ensure!(Some(parts.iter().sum()) == accounted && owners["resident"] == 2 * DATAGRAMS, "{ledger}");
    Ok(())
}

/// No single container lives there, or none at all.
fn a_link_to_two_containers_has_none() -> Result<()> {
    let [client, router, server] = routed()?;
    let _two = (Container::new(15, Some(&server))?, Container::new(16, Some(&server))?);
    let droptrace = start(&router, &["stat", "--by", "interface,container,socket"])?;
    send(&client, (SERVER, 9).into())?;
    send(&server, (CLIENT, 9).into())?;
    let stat = Stat::parse(&droptrace.finish()?.stdout)?.0;
    for link in ["left", "right"] {
        let nobody = json!({"interface": link, "container": null, "owner_basis": null});
        ensure!(packets(&stat, &nobody)? == DATAGRAMS, "{link}: {stat}");
    }
    Ok(())
}

/// The container, its namespace and the link end during the run.
fn a_link_that_went_keeps_its_container() -> Result<()> {
    let [client, router, server] = routed()?;
    let container = Container::new(17, Some(&client))?;
    let name = container.name().to_owned();
    let droptrace = start(&router, &["stat", "--by", "netns,interface,container,socket", "--interval", "100ms"])?;
    send(&client, (SERVER, 9).into())?;
    droptrace.await_printed("the name of the container", |text| Ok(text.contains(&name)))?;
    drop((container, client));
    router.command("ip link delete left").ok();
    ensure!(router.ifindex("left").is_err(), "the link is still there");
    // Droptrace has to look again, which it does once a second.
    let reports = std::cell::Cell::new(None);
    droptrace.await_printed("twenty further reports", |text| {
        let count = text.lines().count();
        let first = reports.get().unwrap_or(count);
        reports.set(Some(first));
        Ok(count > first + 20)
    })?;
    send(&server, (CLIENT, 9).into())?;
    let stdout = droptrace.finish()?.stdout;
    let last: Value = serde_json::from_str(stdout.lines().last().context("no report")?)?;
    let has_cookies =
        last["drops"].as_array().is_some_and(|rows| rows.iter().any(|row| !row["netns_cookie"].is_null()));
    ensure!(has_cookies, Unable("the kernel has no cookies of namespaces".to_owned()));
    let kept = json!({"container": name, "owner_basis": "peer_namespace"});
    ensure!(packets(&last, &kept)? == DATAGRAMS, "{last}");
    Ok(())
}
