//! droptrace in a container: it works with few capabilities and a root file system that cannot be written to, tells network
//! namespaces apart without their names, and says which mounts would show more.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::agent::{Agent, Scrape};
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::container::{Container, LEAST};
use tests::droptrace::{Droptrace, binary, piped};
use tests::eventually;
use tests::folder::Folder;
use tests::netns::Netns;
use tests::trials::{self, trial_as_root};
use tests::wire::udp;
use tests::witness::Witness;

const PACKETS: &str = "droptrace_dropped_packets_total";
/// Where a container finds the names of network namespaces.
const NAMES: &str = "/run/netns";

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("doctor_names_what_is_hidden", doctor_names_what_is_hidden),
        trial_as_root("doctor_finds_what_is_mounted", doctor_finds_what_is_mounted),
        trial_as_root("whole_hierarchy_of_cgroups_is_found", whole_hierarchy_of_cgroups_is_found),
        trial_as_root("series_of_namespaces_without_names_stay_apart", series_of_namespaces_without_names_stay_apart),
        trial_as_root("later_names_appear_in_a_mounted_folder", later_names_appear_in_a_mounted_folder),
        trial_as_root("rows_of_namespaces_without_names_stay_apart", rows_of_namespaces_without_names_stay_apart),
    ])
}

/// Runs droptrace in the container until it ends by itself; returns what it printed.
fn output(container: Container<'_>, arguments: &[&str]) -> Result<String> {
    let root = Folder::new("container")?;
    let finished = Droptrace::spawn(&mut container.command(&root.join(""), arguments)?)?.wait()?;
    ensure!(finished.status.success(), "{finished:?}");
    Ok(finished.stdout)
}

/// The checks of `droptrace doctor` about the container: name, state, and what they found with the advice. The best backend works.
fn checks(container: Container<'_>) -> Result<Vec<(String, String, String)>> {
    let document: Value = serde_json::from_str(&output(container, &["doctor", "--format", "json"])?)?;
    let works = document.pointer("/backends/0/works").or(document.pointer("/backends/1/works"));
    ensure!(works == Some(&true.into()), "no BPF in the container: {document}");
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = document["checks"].as_array().context("no checks")?.iter();
    let checks = checks
        .map(|it| (text(it, "name"), text(it, "state"), format!("{}: {}", text(it, "found"), text(it, "advice"))));
    Ok(checks
        .filter_map(|(name, state, text)| Some((name.strip_prefix("container ")?.to_owned(), state, text)))
        .collect())
}

fn find<'c>(checks: &'c [(String, String, String)], name: &str) -> Result<(&'c str, &'c str)> {
    let found = checks.iter().find(|(it, ..)| it == name).with_context(|| format!("no {name} in {checks:?}"))?;
    Ok((&found.1, &found.2))
}

fn doctor_names_what_is_hidden() -> Result<()> {
    let checks = checks(Container { capabilities: &LEAST, ..Container::default() })?;
    for (name, options) in [
        ("processes", ["--pid=host", "hostPID: true"]),
        ("namespaces", ["-v /run/netns:/run/netns:ro,rslave", "mountPropagation: HostToContainer"]),
        ("cgroups", ["--cgroupns=host", "hostPath volume of /sys/fs/cgroup"]),
        (
            "capabilities",
            ["--cap-add=DAC_READ_SEARCH --cap-add=SYS_PTRACE", "capabilities.add: [DAC_READ_SEARCH, SYS_PTRACE"],
        ),
    ] {
        let (state, text) = find(&checks, name)?;
        ensure!(state == "degraded", "{name} is {state}: {text}");
        ensure!(options.iter().all(|option| text.contains(option)), "{name}: {text}");
    }
    find(&checks, "network").map(drop)
}

fn doctor_finds_what_is_mounted() -> Result<()> {
    // The folder is a mount that others follow once a namespace has a name.
    let _named = Netns::named(&name("mounted"))?;
    let capabilities = [&LEAST[..], &["dac_read_search", "sys_ptrace", "sys_admin", "net_admin"]].concat();
    let container = Container { capabilities: &capabilities, volumes: &[NAMES], ..Container::default() };
    let checks = checks(container)?;
    for name in ["namespaces", "capabilities"] {
        let (state, text) = find(&checks, name)?;
        ensure!(state == "good" && text.ends_with(": "), "{name} is {state}: {text}");
    }
    Ok(())
}

/// In a cgroup namespace of its own, a mount of the container's part looks like that of a whole hierarchy.
fn whole_hierarchy_of_cgroups_is_found() -> Result<()> {
    const ENTER: &str = "echo $$ > $1/cgroup.procs && exec unshare --cgroup --mount sh -c \
        'mount -t cgroup2 part $1 && exec $0 doctor --format json' $2 $3";
    let (group, part) = (ControlGroup::of_container(&format!("{:064x}", std::process::id()))?, Folder::new("part")?);
    let mut command = Command::new("sh");
    command.args(["-c", ENTER, "sh"]).arg(group.path()).arg(binary()?).arg(part.join(""));
    let finished = Droptrace::spawn(piped(&mut command))?.wait()?;
    ensure!(finished.status.success(), "{finished:?}");
    ensure!(finished.stdout.contains("owners of packets"), "{finished:?}");
    ensure!(!finished.stdout.contains("shows only a part"), "{}", finished.stdout);
    group.remove()
}

fn name(kind: &str) -> String {
    format!("droptrace-container-{kind}-{}", std::process::id())
}

/// Sends so many datagrams to a closed port; returns how many of them the kernel dropped by now.
fn refuse(netns: &Netns, datagrams: u64) -> Result<u64> {
    netns.command("ip link set lo up")?;
    let sender = udp(netns, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    for _ in 0..datagrams {
        // The kernel reports the refusal by the next call.
        _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
    }
    drained()?;
    Witness::Snmp("Udp", "NoPorts").read(netns)
}

/// Waits until the agent has counted so many packets in a namespace.
fn await_series(agent: &Agent, netns: &str, expected: u64) -> Result<Scrape> {
    let mut last = None;
    eventually(&format!("{expected} packets of netns {netns}"), || {
        let scrape = agent.scrape()?;
        let counted = scrape.sum(PACKETS, &[("netns", netns)]);
        ensure!(counted <= expected, "{counted} of {expected} packets of netns {netns}: {scrape:?}");
        last = Some(scrape);
        Ok(counted == expected)
    })?;
    last.context("no scrape")
}

fn agent(root: &Folder, volumes: &[&str]) -> Result<Agent> {
    let container = Container { capabilities: &LEAST, volumes, ..Container::default() };
    let arguments = ["agent", "--interval", "20ms", "--listen", "127.0.0.1:0"];
    Agent::spawn(&mut container.command(&root.join(""), &arguments)?)
}

fn series_of_namespaces_without_names_stay_apart() -> Result<()> {
    let root = Folder::new("container")?;
    // One has a name that the container does not see.
    let both = [Netns::named(&name("hidden"))?, Netns::new()?];
    let agent = agent(&root, &[])?;
    let dropped = [refuse(&both[0], 7)?, refuse(&both[1], 11)?];
    for (netns, dropped) in both.iter().zip(dropped) {
        ensure!(dropped >= 7, "the kernel dropped {dropped}");
        await_series(&agent, &netns.inum().to_string(), dropped)?.check_sum()?;
    }
    Ok(())
}

fn later_names_appear_in_a_mounted_folder() -> Result<()> {
    let _first = Netns::named(&name("first"))?;
    let root = Folder::new("container")?;
    let agent = agent(&root, &[NAMES])?;
    let later = name("later");
    let netns = Netns::named(&later)?;
    let dropped = refuse(&netns, 5)?;
    await_series(&agent, &later, dropped)?.check_sum()
}

/// In JSON by number and cookie, in text by number.
fn rows_of_namespaces_without_names_stay_apart() -> Result<()> {
    let both = [Netns::new()?, Netns::new()?];
    let container = Container { capabilities: &LEAST, ..Container::default() };
    let run = |format| -> Result<String> {
        let root = Folder::new("container")?;
        let arguments = ["stat", "--by", "netns", "--format", format, "--duration", "2s"];
        let mut droptrace = Droptrace::spawn(&mut container.command(&root.join(""), &arguments)?)?;
        droptrace.await_attached()?;
        refuse(&both[0], 7)?;
        refuse(&both[1], 11)?;
        let finished = droptrace.wait()?;
        ensure!(finished.status.success(), "{finished:?}");
        Ok(finished.stdout)
    };
    let json = run("json")?;
    let document: Value = serde_json::from_str(json.lines().next().context("no document")?)?;
    let text = run("text")?;
    let mut cookies = Vec::new();
    for (netns, packets) in both.iter().zip([7, 11]) {
        let rows = document["drops"].as_array().context("no rows")?;
        let row = rows.iter().find(|row| row["netns"] == netns.inum()).context("no row of the namespace")?;
        ensure!(row["packets"] == packets, "{row}");
        cookies.push(row["netns_cookie"].clone());
        let shown = |line: &str| line.split_whitespace().any(|word| word == netns.inum().to_string());
        ensure!(text.lines().any(shown), "no {} in {text}", netns.inum());
    }
    // Before Linux 5.12 there are no cookies.
    ensure!(cookies[0] != cookies[1] || cookies[0].is_null(), "{document}");
    Ok(())
}
