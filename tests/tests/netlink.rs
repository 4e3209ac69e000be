//! What droptrace says of generic netlink, against what others say of it.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fd::OwnedFd;
use rustix::fs::fstat;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use rustix::process::Signal;
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, command};
use tests::netns::Netns;
use tests::sys;
use tests::trials::{self, Unable, trial, trial_as_root};

fn main() -> ExitCode {
    trials::run(vec![
        trial("families_as_genl_tells_them", families_as_genl_tells_them),
        trial("policies_as_genl_tells_them", policies_as_genl_tells_them),
        trial("families_that_are_not_there", families_that_are_not_there),
        trial_as_root("a_family_of_the_first_namespace_only", a_family_of_the_first_namespace_only),
        trial_as_root("messages_and_an_overrun_are_shown_in_order", messages_and_an_overrun_are_shown_in_order),
        trial_as_root("a_listener_that_misses_multicasts", a_listener_that_misses_multicasts),
    ])
}

fn run(arguments: &[&str]) -> Result<Finished> {
    Droptrace::spawn(&mut command(arguments)?)?.wait()
}

fn json(arguments: &[&str]) -> Result<Value> {
    let finished = run(&[&["netlink"], arguments, &["--format", "json"]].concat())?;
    ensure!(finished.status.success(), "{arguments:?}: {}", finished.stderr);
    serde_json::from_str(&finished.stdout).with_context(|| format!("reading {:?}", finished.stdout))
}

fn list<'v>(value: &'v Value, field: &str) -> Result<&'v Vec<Value>> {
    value[field].as_array().with_context(|| format!("no {field} in {value}"))
}

/// What iproute2's program prints; it has no machine's form for this.
fn genl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("genl").args(arguments).output().map_err(|error| Unable(format!("genl: {error}")))?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The words of genl's list, `0x10` as 16: what a family is, then its operations and groups.
fn families_of_genl() -> Result<Vec<String>> {
    let mut families: Vec<String> = Vec::new();
    for line in genl(&["ctrl", "list"])?.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("Name: ") {
            families.push(name.to_owned());
            continue;
        }
        let words: Vec<_> = line.split_whitespace().map(number).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let told = match words[..] {
            ["ID:", id, "Version:", version, "header", "size:", header, "max", "attribs:", max] => {
                format!(" {id} {version} {header} {max}")
            }
            [_, id, "name:", name] => format!(" group {name} {id}"),
            [_, id] if line.contains("ID-") => format!(" operation {id}"),
            ["Capabilities", flags] => format!(" {flags}"),
            _ => continue,
        };
        families.last_mut().context("no name before what is told of it")?.push_str(&told);
    }
    Ok(families)
}

/// `0x10`, `ID-0x10` and `(0x10):` as 16, anything else as it is.
fn number(word: &str) -> String {
    let bare = word.trim_start_matches("ID-").trim_start_matches('(').trim_end_matches("):");
    let number = bare.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.map_or_else(|| word.to_owned(), |number| number.to_string())
}

fn families_as_genl_tells_them() -> Result<()> {
    let told = families_of_genl()?;
    ensure!(told.iter().any(|family| family.starts_with("nlctrl 16 2 ")), "genl is not understood: {told:?}");
    let mut found = Vec::new();
    for family in list(&json(&["families"])?, "families")? {
        let name = family["name"].as_str().context("no name")?;
        let details = json(&["family", name])?;
        for field in ["id", "version", "header_size", "max_attribute", "groups"] {
            ensure!(family[field] == details[field], "{name}: one list says {family}, the other {details}");
        }
        ensure!(family["operations"] == list(&details, "operations")?.len(), "{name}: operations");
        found.push(as_genl_tells(&details)?);
    }
    ensure!(found == told, "droptrace {found:#?}\ngenl {told:#?}");
    Ok(())
}

fn as_genl_tells(family: &Value) -> Result<String> {
    let name = |value: &Value| value["name"].as_str().map(str::to_owned).context("no name");
    let mut words = vec![name(family)?];
    words.extend(["id", "version", "header_size", "max_attribute"].map(|field| family[field].to_string()));
    for operation in list(family, "operations")? {
        words.push(format!("operation {}", operation["number"]));
        // It takes the family's version for the controller's, and the first one's had no flags.
        if family["version"].as_u64() > Some(1) {
            let bits = [("admin", 1), ("do", 2), ("dump", 4), ("has_policy", 8), ("namespace_admin", 16)];
            let set = bits.iter().filter(|(name, _)| operation[name] == true);
            words.push(set.map(|(_, bit)| bit).sum::<u32>().to_string());
        }
    }
    for group in list(family, "groups")? {
        words.push(format!("group {} {}", name(group)?, group["id"]));
    }
    Ok(words.join(" "))
}

/// What is told of operations and attributes, by their names; of operations that genl calls 0, in its order.
type Told = BTreeMap<String, Vec<String>>;

/// Lines as `ID: 0x10  op 3 policies: do=0 dump=0` and `ID: 0x10  policy[0]:attr[1]: type=U16 range:[0,65535]`.
fn policies_of_genl(id: &str) -> Result<Told> {
    let mut told = Told::new();
    for line in genl(&["ctrl", "policy", "id", id])?.lines() {
        let line = line.trim().split_once("  ").with_context(|| format!("genl says {line:?}"))?.1;
        let (what, rest) = line.split_once(": ").with_context(|| format!("genl says {line:?}"))?;
        told.entry(what.to_owned()).or_default().push(rest.trim().to_owned());
    }
    Ok(told)
}

fn policies_as_genl_tells_them() -> Result<()> {
    let mut compared = 0;
    for family in list(&json(&["families"])?, "families")? {
        let name = family["name"].as_str().context("no name")?;
        let told = policies_of_genl(&family["id"].to_string())?;
        let found = policies_in_genls_words(&json(&["family", name])?, told.contains_key("op 0 policies"))?;
        ensure!(told.keys().eq(found.keys()), "{name}: droptrace {:?}\ngenl {:?}", found.keys(), told.keys());
        for (what, told) in &told {
            let found = &found[what];
            let same = told.len() == found.len() && told.iter().zip(found).all(|(told, found)| is_same(told, found));
            ensure!(same, "{name}, {what}: droptrace {found:?}, genl {told:?}");
        }
        compared += told.len();
    }
    ensure!(compared > 4, "genl tells {compared} policies only");
    Ok(())
}

/// genl does not know the names of types that are younger than itself.
fn is_same(told: &str, found: &str) -> bool {
    match (told.strip_prefix("type=unknown"), found.split_once(' ')) {
        (None, _) => told == found,
        (Some(rest), found) => rest.trim() == found.map_or("", |(_, rest)| rest),
    }
}

/// genl shows what the kernel says, which calls operations that only list 0 since 6.2.
fn policies_in_genls_words(family: &Value, has_unnumbered: bool) -> Result<Told> {
    let mut found = Told::new();
    for operation in list(family, "operations")? {
        let ways = [("do", &operation["do_policy"]), ("dump", &operation["dump_policy"])];
        let told = ways.iter().filter(|(_, root)| !root.is_null()).map(|(way, root)| format!("{way}={root}"));
        let told: Vec<_> = told.collect();
        let number = if has_unnumbered && operation["do"] == false { &Value::from(0) } else { &operation["number"] };
        if !told.is_empty() {
            found.entry(format!("op {number} policies")).or_default().push(told.join(" "));
        }
    }
    for policy in list(family, "policies")? {
        for attribute in list(policy, "attributes")? {
            let what = format!("policy[{}]:attr[{}]", policy["index"], attribute["number"]);
            found.entry(what).or_default().push(attribute_in_genls_words(attribute)?);
        }
    }
    Ok(found)
}

fn attribute_in_genls_words(attribute: &Value) -> Result<String> {
    let kind = attribute["type"].as_str().context("no type")?;
    let mut words = vec![format!("type={}", kind.to_uppercase().replace('-', "_"))];
    if let (Some(least), Some(most)) = (attribute["min"].as_str(), attribute["max"].as_str()) {
        words.push(format!("range:[{least},{most}]"));
    }
    let others =
        [("min_length", "min len"), ("max_length", "max len"), ("policy", "policy"), ("max_attribute", "maxattr")];
    words.extend(others.iter().filter_map(|(field, word)| Some(format!("{word}:{}", attribute[field].as_u64()?))));
    Ok(words.join(" "))
}

fn refused(finished: &Finished, words: &[&str]) -> Result<()> {
    ensure!(finished.status.code() == Some(1), "{} instead of 1: {}", finished.status, finished.stderr);
    ensure!(finished.stdout.is_empty(), "it prints {:?}", finished.stdout);
    let missing = words.iter().find(|word| !finished.stderr.contains(*word));
    ensure!(missing.is_none(), "it does not say {missing:?}: {}", finished.stderr);
    Ok(())
}

fn families_that_are_not_there() -> Result<()> {
    refused(&run(&["netlink", "family", "irda"])?, &["not registered; removed from Linux in 4.17"])?;
    refused(&run(&["netlink", "family", "no-such"])?, &["no-such: not registered", "modules.alias", "namespace:"])?;
    // Longer than a name can be.
    refused(&run(&["netlink", "family", &"x".repeat(400)])?, &["refused"])
}

/// Quota's family answers in the first namespace only, and is built in where it is.
fn a_family_of_the_first_namespace_only() -> Result<()> {
    const FAMILY: &str = "VFS_DQUOT";
    let families = json(&["families"])?;
    let is_here = list(&families, "families")?.iter().any(|family| family["name"] == FAMILY);
    ensure!(is_here, Unable(format!("no {FAMILY} here")));
    let other = Netns::new()?;
    let finished = other.run(|| run(&["netlink", "family", FAMILY]))?;
    refused(&finished, &["not the first network namespace"])
}

/// The family netdev tells of new interfaces (6.3 and later). While the watcher sleeps, too many come.
fn messages_and_an_overrun_are_shown_in_order() -> Result<()> {
    let host = Netns::new()?;
    let families = host.run(|| json(&["families"]))?;
    let mut groups = list(&families, "families")?.iter().filter(|family| family["name"] == "netdev");
    ensure!(groups.any(|family| family["groups"][0]["name"] == "mgmt"), Unable("no group mgmt of netdev".to_owned()));
    let start = |buffer| {
        let mut watch = command(&["netlink", "watch", "netdev", "--group", "mgmt", "--buffer", buffer])?;
        let mut watch = host.run(|| Droptrace::spawn(&mut watch))?;
        watch.await_attached().map(|()| watch)
    };
    let (watch, patient) = (start("4096")?, start("4194304")?);
    host.command("ip link add first type veth peer name first-peer")?;
    thread::sleep(Duration::from_millis(500));
    watch.signal(Signal::STOP)?;
    let batch: Vec<_> = (0..FLOOD).map(|n| format!("link add a{n} type veth peer name b{n}\n")).collect();
    let file = std::env::temp_dir().join(format!("droptrace-links-{}", std::process::id()));
    fs::write(&file, batch.concat())?;
    let flood = host.command(&format!("ip -batch {}", file.display()));
    fs::remove_file(&file)?;
    flood?;
    watch.signal(Signal::CONT)?;
    thread::sleep(Duration::from_millis(500));
    host.command("ip link add last type veth peer name last-peer")?;
    thread::sleep(Duration::from_millis(500));
    let (shown, all) = (watch.finish()?.stdout, patient.finish()?.stdout);
    let is_message = |line: &&str| line.contains("netdev command");
    let sent = all.lines().filter(is_message).count();
    ensure!(!all.contains("OVERRUN") && sent >= 2 * (FLOOD + 2), "with room for all, {sent} are shown");
    let lines: Vec<_> = shown.lines().filter(|line| is_message(line) || line.contains("OVERRUN")).collect();
    let overrun = lines.iter().position(|line| line.contains("OVERRUN")).context("no overrun is shown")?;
    ensure!(overrun > 0 && overrun + 1 < lines.len(), "the overrun stands at {overrun} of {}", lines.len());
    let lost = lines[overrun].rsplit(": ").next().and_then(|text| text.split(' ').next()?.parse::<usize>().ok());
    let messages = lines.len() - 1;
    ensure!(lost.is_some_and(|lost| lost + messages == sent), "{lost:?} lost and {messages} shown of {sent}");
    Ok(())
}

/// Pairs of interfaces whose messages do not fit into the watcher's buffer.
const FLOOD: usize = 50;

/// `RTNLGRP_LINK`, as a bit.
const LINK: u32 = 1;

/// Links come and go, and nobody reads of it: the socket fills up. The list says what the socket says of itself.
fn a_listener_that_misses_multicasts() -> Result<()> {
    let host = Netns::new()?;
    let socket = host.run(|| {
        // No protocol is NETLINK_ROUTE, which is 0.
        let socket = net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
        sockopt::set_socket_recv_buffer_size(&socket, 1)?;
        net::bind(&socket, &SocketAddrNetlink::new(0, LINK))?;
        Ok(socket)
    })?;
    for _ in 0..20 {
        host.command("ip link set lo up")?;
        host.command("ip link set lo down")?;
    }
    let inode = fstat(&socket)?.st_ino;
    let details = host.run(|| json(&["listeners"]))?;
    let listener = |list: &Value| -> Result<Value> {
        let listeners = self::list(list, "listeners")?;
        listeners.iter().find(|listener| listener["inode"] == inode).cloned().context("the socket is not listed")
    };
    let inside = listener(&details)?;
    let capacity = sockopt::socket_recv_buffer_size(&socket)?;
    ensure!(inside["groups"][0]["name"] == "LINK" && inside["protocol_name"] == "ROUTE", "{inside}");
    ensure!(inside["netns"] == host.inum() && inside["processes"][0]["pid"] == std::process::id(), "{inside}");
    ensure!(inside["capacity"].is_null() || inside["capacity"] == capacity, "{inside}, the buffer is {capacity}");
    let (used, drops) = memory(&socket)?;
    ensure!(inside["used"] == used && inside["drops"] == drops && drops > 0, "{inside}: {used} used, {drops} dropped");
    // From outside, the namespace is reached through a process in it.
    let guest = host.run(|| Ok(Command::new("sleep").arg("60").spawn()?));
    let outside = json(&["listeners"]).and_then(|list| listener(&list));
    let mut guest = guest?;
    guest.kill()?;
    guest.wait()?;
    let outside = outside?;
    ensure!(outside["drops"] == drops && outside["netns"] == host.inum(), "{outside}");
    Ok(())
}

/// Bytes that wait in a socket, and messages that it had no room for (`SK_MEMINFO_…`).
fn memory(socket: &OwnedFd) -> Result<(u32, u32)> {
    let told: [u8; 36] = sys::get_option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    let (used, drops) = (told.first_chunk().context("no bytes")?, told.last_chunk().context("no bytes")?);
    Ok((u32::from_ne_bytes(*used), u32::from_ne_bytes(*drops)))
}
