//! Each command of an explanation that changes nothing runs as it is printed, in a namespace with an interface. One test for
//! each tool: a tool that is not there is named as skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{self, Command, Output};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use tests::droptrace;
use tests::netns::Netns;
use tests::trials::{Unable, trial_as_root};

use droptrace_base::explain::{Entrance, Library, Values, fill};

/// Tools of which the commands need a service or a device that tests do not set up.
const NOT_TRIED: [&str; 3] = ["journalctl", "ovs-appctl", "ovs-ofctl"];

/// The time after which a command that watches is ended, in seconds: tcpdump has read its expression by then.
const WATCHED: &str = "0.4";

/// The status of `timeout` for a command that it ended.
const ENDED: i32 = 124;

/// Answers for features that a kernel or the test's interface lacks: what the tool is, and what it says. Such a command was
/// understood.
const FEATURES: [(&str, &str); 10] = [
    ("ethtool", "not supported"),
    ("ethtool", "no stats available"),
    ("ethtool", "netlink error"),
    ("sysctl", "net/netfilter/nf_conntrack"),
    ("sysctl", "net/bridge/"),
    ("sysctl", "net/core/qdisc_max_burst"),
    ("sysctl", "net/core/flow_limit_"),
    ("cat", "/proc/net/sctp/snmp"),
    ("cat", "/sys/kernel/security/lsm"),
    ("ausearch", "<no matches>"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let library = Library::built_in().expect("the built-in explanations");
    let mut tools: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for topic in library.topics() {
        for template in topic.next() {
            let bare = template.trim_start_matches("ip netns exec NETNS ").trim_start_matches("timeout 10 ");
            let tool = bare.split(' ').next().unwrap_or_default().to_owned();
            tools.entry(tool).or_default().insert(template.into_owned());
        }
    }
    let tried = tools.into_iter().filter(|(tool, _)| !NOT_TRIED.contains(&tool.as_str()));
    let trial = |(tool, templates): (String, BTreeSet<String>)| {
        trial_as_root(&format!("commands_run_{tool}"), move || all_run(&tool, &templates))
    };
    tried.map(trial).collect()
}

/// A namespace with an interface that is up, and the values of a row in it.
struct Stage {
    _netns: Netns,
    values: Values,
}

impl Stage {
    fn new(tool: &str) -> Result<Self> {
        let name = format!("explain-{tool}-{}", process::id());
        let netns = Netns::named(&name)?;
        netns.commands(
            "ip link set lo up
             ip link add v0 type veth peer name v1
             ip address add 192.0.2.1/24 dev v0
             ip link set v0 up
             ip link set v1 up",
        )?;
        let values = Values {
            entrance: Entrance::Name(name.clone()),
            netns: Some(name.clone()),
            interface: Some("v0".into()),
            source: "192.0.2.7".parse().ok(),
            destination: "192.0.2.1".parse().ok(),
            source_port: Some(4_321),
            destination_port: Some(53),
            filter: format!("reason NO_SOCKET and netns {name} and iface v0"),
            ..Values::default()
        };
        Ok(Self { _netns: netns, values })
    }
}

fn all_run(tool: &str, templates: &BTreeSet<String>) -> Result<()> {
    let is_there = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).output()?.status.success();
    ensure!(is_there || tool == "droptrace", Unable(format!("{tool} is not installed")));
    let stage = Stage::new(tool)?;
    let mut wrong = Vec::new();
    // Templates that differ in what a value replaces are one command.
    let commands: BTreeSet<_> =
        templates.iter().map(|template| fill(template, &stage.values)).filter_map(complete).collect();
    for command in &commands {
        if let Err(error) = runs(tool, command) {
            wrong.push(format!("{command}: {error:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} commands do not run:\n{}", wrong.len(), commands.len(), wrong.join("\n"));
    Ok(())
}

/// The text of a command of which nothing is missing: of an id of a map, say, no row has a value.
fn complete(command: droptrace_base::explain::Command) -> Option<String> {
    command.missing.is_empty().then_some(command.text)
}

fn runs(tool: &str, command: &str) -> Result<()> {
    let output = run(command)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0 | ENDED) => {}
        // No line matches; lnstat always ends so.
        Some(1) if (command.contains(" | grep ") || tool == "lnstat") && said.is_empty() => {}
        _ if FEATURES.iter().any(|(of, words)| tool == *of && said.contains(words)) => {}
        status => bail!("{status:?}: {}", said.trim()),
    }
    ensure!(!said.to_lowercase().contains("usage:"), "{said}");
    Ok(())
}

/// Runs a command in a shell, for a moment if it watches. No command of droptrace waits for drops.
fn run(command: &str) -> Result<Output> {
    let binary = droptrace::binary()?;
    let folder = binary.parent().context("a folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let command = command.replace("--duration 10s", "--duration 300ms").replace("--count 20", "--duration 300ms");
    let command = command.replace("timeout 10 ", "");
    let limited = ["-s", "INT", if command.starts_with("droptrace") { "5" } else { WATCHED }, "sh", "-c", &command];
    Command::new("timeout").args(limited).env("PATH", path).output().with_context(|| format!("starting {command}"))
}
