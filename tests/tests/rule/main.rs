//! `droptrace rule`: the rules that drop packets, against the rules' own counters and the number of packets sent.

mod entrance;
mod iptables;

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Finished, command};
use tests::folder::Folder;
use tests::frame::{NETWORK, TRANSPORT4, ip4, resealed, udp, udp4, udp6};
use tests::netns::Netns;
use tests::trials::{self, Unable, trial_as_root};
use tests::wire::{HOST, SENDER, Wire};
use tests::{eventually, patience};

const TABLE: &str = "droptrace-trace";
/// The packets of each rule.
const PACKETS: u64 = 120;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("two_rules_and_a_policy_are_three_rows", two_rules_and_a_policy),
        trial_as_root("command_enters_the_namespace", entrance::command_enters_the_namespace),
        trial_as_root("rules_behind_a_jump_and_for_ipv6", rules_behind_a_jump),
        trial_as_root("other_packets_are_left_out", other_packets_are_left_out),
        trial_as_root("drops_without_a_rule_have_no_row", drops_without_a_rule),
        trial_as_root("traced_packets_are_bounded", traced_packets_are_bounded),
        trial_as_root("the_run_has_a_time_and_forms", the_run_has_a_time_and_forms),
        trial_as_root("killed_run_leaves_no_table", killed_run_leaves_no_table),
        trial_as_root("two_runs_in_a_namespace_are_refused", two_runs_are_refused),
        trial_as_root("reloaded_ruleset_never_shows_a_wrong_rule", reloaded_ruleset),
        trial_as_root("reassembled_packets_are_drops", reassembled_packets),
        trial_as_root("table_of_somebody_else_is_refused", table_of_somebody_else),
        trial_as_root("rules_of_iptables_nft_have_its_counts", iptables::rules_of_iptables_nft),
        trial_as_root("packets_that_others_trace_are_left_out", packets_that_others_trace),
    ])
}

/// Starts a run in a namespace, and waits until it traces.
fn start(netns: &Netns, arguments: &[&str]) -> Result<Droptrace> {
    let inum = netns.inum().to_string();
    let all = [&["rule", "--netns", &inum, "--duration", "1h", "--format", "json"], arguments].concat();
    let mut droptrace = Droptrace::spawn(&mut command(&all)?)?;
    droptrace.await_said("tracing up to").map_err(|error| match format!("{error:#}") {
        text if text.contains("Protocol not supported") || text.contains("Operation not supported") => {
            Unable(format!("no nftables: {text}")).into()
        }
        _ => error,
    })?;
    Ok(droptrace)
}

fn document(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.stdout)
        .with_context(|| format!("reading {:?}: {}", finished.stdout, finished.stderr))
}

/// The document of a run while `provocation` sends packets.
fn during(netns: &Netns, arguments: &[&str], provocation: impl FnOnce() -> Result<()>) -> Result<Value> {
    let droptrace = start(netns, arguments)?;
    provocation()?;
    drained()?;
    let document = document(&droptrace.finish()?)?;
    let ledger = &document["ledger"];
    let number = |field: &str| ledger[field].as_u64().with_context(|| format!("no {field} in {ledger}"));
    let parts = ["dropped_by_rules", "dropped_by_policies", "not_dropped", "filtered", "unknown"];
    let sum = parts.iter().map(|part| number(part)).sum::<Result<u64>>()?;
    ensure!(number("traced")? == sum, "the ledger does not add up: {ledger}");
    ensure!(number("malformed")? == 0 && number("lost_messages")? == 0, "{ledger}");
    ensure!(!tables(netns)?.contains(TABLE), "the table is left: {}", tables(netns)?);
    Ok(document)
}

fn tables(netns: &Netns) -> Result<String> {
    netns.command("nft list tables")
}

/// Table, chain, hook, whether it is a policy, drops, and the rise of the counter.
type Row = (String, String, Option<String>, bool, u64, Option<u64>);

fn rows(document: &Value) -> Result<Vec<Row>> {
    let rules = document["rules"].as_array().context("no rules")?;
    let row = |rule: &Value| {
        let text = |field: &str| rule[field].as_str().map(str::to_owned);
        Ok((
            text("table").context("no table")?,
            text("chain").context("no chain")?,
            text("hook"),
            rule["is_policy"].as_bool().context("no is_policy")?,
            rule["drops"].as_u64().context("no drops")?,
            rule["counter_rise"].as_u64(),
        ))
    };
    rules.iter().map(row).collect()
}

fn row(table: &str, chain: &str, hook: Option<&str>, is_policy: bool, drops: u64, counter: Option<u64>) -> Row {
    (table.to_owned(), chain.to_owned(), hook.map(str::to_owned), is_policy, drops, counter)
}

/// The rules of a namespace, without the values of counters.
fn ruleset(netns: &Netns) -> Result<String> {
    netns.command("nft -s -a list ruleset")
}

fn two_rules_and_a_policy() -> Result<()> {
    let wire = Wire::new()?;
    wire.host.probe(
        "nft add table inet web
         nft 'add chain inet web input { type filter hook input priority 0 ; }'
         nft 'add rule inet web input udp dport 9 counter drop comment \"no discard\"'
         nft add table ip gate
         nft 'add chain ip gate early { type filter hook prerouting priority -300 ; }'
         nft add rule ip gate early udp dport 10 ip saddr 10.0.0.0/24 counter drop
         nft add table inet last
         nft 'add chain inet last input { type filter hook input priority 10 ; policy drop ; }'",
    )?;
    let before = ruleset(&wire.host)?;
    let document = during(&wire.host, &["--limit", "100000"], || {
        wire.repeat(PACKETS, &udp4(9)?)?;
        wire.repeat(PACKETS / 2, &udp4(10)?)?;
        wire.repeat(PACKETS / 3, &udp4(11)?)
    })?;
    let expected = [
        row("web", "input", Some("input"), false, PACKETS, Some(PACKETS)),
        row("gate", "early", Some("prerouting"), false, PACKETS / 2, Some(PACKETS / 2)),
        row("last", "input", Some("input"), true, PACKETS / 3, None),
    ];
    ensure!(rows(&document)? == expected, "{document:#}");
    ensure!(ruleset(&wire.host)? == before, "the rules changed");
    let [web, gate, last] = [0, 1, 2].map(|index| &document["rules"][index]);
    ensure!(web["text"] == "udp dport 9 counter drop" && web["comment"] == "no discard", "{web}");
    ensure!(gate["text"] == "udp dport 10 ip saddr 10.0.0.0/24 counter drop", "{gate}");
    ensure!(last["handle"].is_null() && last["text"].is_null(), "{last}");
    ensure!(web["example"]["destination"] == "10.0.0.2:9" && web["example"]["transport"] == "udp", "{web}");
    // Neither a name nor a process leads into the namespace.
    let command = web["command"].as_str().context("no command")?;
    let inside = command.strip_prefix("ip netns exec NETNS ").with_context(|| command.to_owned())?;
    let shown = wire.host.command(inside)?;
    let handle = web["handle"].as_u64().context("no handle")?;
    ensure!(
        shown.lines().any(|line| line.contains("dport 9") && line.ends_with(&format!("# handle {handle}"))),
        "{shown}"
    );
    Ok(())
}

fn rules_behind_a_jump() -> Result<()> {
    let wire = Wire::with_ipv6()?;
    wire.host.probe(
        "nft add table inet web
         nft add chain inet web more
         nft 'add chain inet web input { type filter hook input priority 0 ; }'
         nft add rule inet web input meta l4proto udp jump more
         nft add rule inet web more ip6 saddr fd00::1 udp dport 9 counter drop
         nft add rule inet web more udp dport { 10, 11 } counter drop",
    )?;
    let document = during(&wire.host, &["--limit", "100000"], || {
        wire.repeat(PACKETS, &udp6(9)?)?;
        wire.repeat(PACKETS / 2, &udp4(10)?)
    })?;
    let expected = [
        row("web", "more", None, false, PACKETS, Some(PACKETS)),
        row("web", "more", None, false, PACKETS / 2, Some(PACKETS / 2)),
    ];
    ensure!(rows(&document)? == expected, "{document:#}");
    ensure!(document["rules"][0]["text"] == "ip6 saddr fd00::1 udp dport 9 counter drop", "{document:#}");
    ensure!(document["rules"][1]["text"] == "udp dport { … } counter drop", "{document:#}");
    ensure!(document["rules"][0]["example"]["source"] == "[fd00::1]:40000", "{document:#}");
    Ok(())
}

/// A wire whose host drops all datagrams to ports 9 and 10.
fn dropping() -> Result<Wire> {
    let wire = Wire::new()?;
    wire.host.probe(
        "nft add table inet web
         nft 'add chain inet web input { type filter hook input priority 0 ; }'
         nft add rule inet web input udp dport 9 counter drop
         nft add rule inet web input udp dport 10 counter drop",
    )?;
    Ok(wire)
}

/// Conditions that the kernel checks, one that only droptrace checks, and `--filter`.
fn other_packets_are_left_out() -> Result<()> {
    let wire = dropping()?;
    let send = || {
        wire.repeat(PACKETS, &udp4(9)?)?;
        wire.repeat(PACKETS / 2, &udp4(10)?)
    };
    let forms: [(&[&str], u64); 3] = [
        (&["udp", "port", "10", "and", "host", "10.0.0.1"], 0),
        (&["--filter", "udp dst portrange 10-19 and src net 10.0.0.0/24"], 0),
        (&["ip[1] = 0 and udp[3] = 10"], PACKETS),
    ];
    for (filter, filtered) in forms {
        let document = during(&wire.host, &[&["--limit", "100000"], filter].concat(), send)?;
        let found: Vec<_> = rows(&document)?.into_iter().map(|row| (row.4, row.5)).collect();
        ensure!(found == [(PACKETS / 2, Some(PACKETS / 2))], "{filter:?}: {document:#}");
        ensure!(document["ledger"]["filtered"] == filtered, "{filter:?}: {document:#}");
    }
    Ok(())
}

fn drops_without_a_rule() -> Result<()> {
    let wire = dropping()?;
    // Nobody receives these datagrams: the kernel drops them, but no rule does.
    let document = during(&wire.host, &["udp dst port 99"], || wire.repeat(PACKETS, &udp4(99)?))?;
    ensure!(rows(&document)?.is_empty(), "{document:#}");
    ensure!(document["ledger"]["not_dropped"] == PACKETS, "{document:#}");
    Ok(())
}

fn traced_packets_are_bounded() -> Result<()> {
    let wire = dropping()?;
    let document = during(&wire.host, &["--limit", "2"], || wire.repeat(PACKETS, &udp4(9)?))?;
    let ledger = &document["ledger"];
    let number = |field: &str| ledger[field].as_u64().with_context(|| format!("no {field} in {ledger}"));
    let [row] = &rows(&document)?[..] else { anyhow::bail!("{document:#}") };
    ensure!(row.4 >= 2 && row.4 < PACKETS && row.4 == number("traced")?, "{document:#}");
    ensure!(row.5 == Some(PACKETS), "{document:#}");
    ensure!(number("selected")? == PACKETS && number("beyond_limit")? == PACKETS - row.4, "{ledger}");
    Ok(())
}

/// `--duration`, `--format`, `--output` and `--verbose`.
fn the_run_has_a_time_and_forms() -> Result<()> {
    let wire = dropping()?;
    let inum = wire.host.inum().to_string();
    let folder = Folder::new("rule")?;
    let path = folder.path("out");
    let arguments =
        ["rule", "--netns", &inum, "--duration", "50ms", "--format", "text", "--output", &path, "--verbose"];
    let started = std::time::Instant::now();
    let finished = Droptrace::spawn(&mut command(&arguments)?)?.wait()?;
    ensure!(finished.status.success() && finished.stdout.is_empty(), "{finished:?}");
    ensure!(started.elapsed() < patience(), "it took {:?}", started.elapsed());
    let text = std::fs::read_to_string(path)?;
    ensure!(text.starts_with("no rule and no policy dropped a traced packet\n"), "{text}");
    ensure!(text.contains("ledger: 0 traced = 0 dropped by rules"), "{text}");
    ensure!(finished.stderr.contains("for 0.05 s") && finished.stderr.contains(", Linux "), "{}", finished.stderr);
    let refused = Droptrace::spawn(&mut command(&["rule", "--limit", "0"])?)?.wait()?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    let refused = Droptrace::spawn(&mut command(&["rule", "reason", "NO_SOCKET"])?)?.wait()?;
    ensure!(refused.status.code() == Some(2) && refused.stderr.contains("nftables traces packets"), "{refused:?}");
    Ok(())
}

/// Linux 5.12 and later delete the table with the socket; before that, the next run does.
fn killed_run_leaves_no_table() -> Result<()> {
    let wire = dropping()?;
    let before = ruleset(&wire.host)?;
    let droptrace = start(&wire.host, &[])?;
    ensure!(tables(&wire.host)?.contains(TABLE), "there is no table");
    droptrace.signal(Signal::KILL)?;
    droptrace.wait()?;
    let is_owned = tables_have_owners()?;
    if is_owned {
        eventually("the table to go", || Ok(!tables(&wire.host)?.contains(TABLE)))?;
    } else {
        ensure!(tables(&wire.host)?.contains(TABLE), "the kernel knows no owners, and the table is gone");
        let document = during(&wire.host, &["--limit", "100000"], || wire.repeat(PACKETS, &udp4(9)?))?;
        ensure!(document["table_has_owner"] == false && rows(&document)?.len() == 1, "{document:#}");
    }
    ensure!(ruleset(&wire.host)? == before, "the rules changed");
    Ok(())
}

/// Whether this kernel knows owners of tables, as another run in another namespace reports.
fn tables_have_owners() -> Result<bool> {
    let other = Netns::new()?;
    let document = during(&other, &[], || Ok(()))?;
    document["table_has_owner"].as_bool().context("no table_has_owner")
}

fn two_runs_are_refused() -> Result<()> {
    let wire = dropping()?;
    let first = start(&wire.host, &["--limit", "100000"])?;
    let inum = wire.host.inum().to_string();
    let second = Droptrace::spawn(&mut command(&["rule", "--netns", &inum])?)?.wait()?;
    ensure!(second.status.code() == Some(1), "{second:?}");
    ensure!(second.stderr.contains("another droptrace traces packets in this network namespace"), "{second:?}");
    ensure!(!second.stderr.contains("CAP_NET_ADMIN"), "no capability is missing: {second:?}");
    wire.repeat(PACKETS, &udp4(9)?)?;
    drained()?;
    let document = document(&first.finish()?)?;
    ensure!(document["rules"][0]["drops"] == PACKETS, "the first run is disturbed: {document:#}");
    Ok(())
}

/// The accept rule of the second ruleset has the handle of the drop rule of the first one.
fn reloaded_ruleset() -> Result<()> {
    let wire = dropping()?;
    let document = during(&wire.host, &["--limit", "100000"], || {
        wire.repeat(PACKETS, &udp4(9)?)?;
        drained()?;
        wire.host.commands(
            "nft delete table inet web
             nft add table inet web
             nft 'add chain inet web input { type filter hook input priority 0 ; }'
             nft add rule inet web input udp dport 8 counter accept
             nft add rule inet web input udp dport 9 counter drop",
        )?;
        wire.repeat(PACKETS / 2, &udp4(9)?)
    })?;
    let [old, new] = [0, 1].map(|index| &document["rules"][index]);
    ensure!(document["rules"].as_array().is_some_and(|rules| rules.len() == 2), "{document:#}");
    ensure!(old["drops"] == PACKETS && old["text"].is_null() && old["table_was_replaced"] == true, "{old}");
    ensure!(new["drops"] == PACKETS / 2 && new["text"] == "udp dport 9 counter drop", "{new}");
    ensure!(old["counter_rise"].is_null() && new["counter_rise"].is_null(), "{document:#}");
    Ok(())
}

/// Connection tracking reassembles the packets: only the first fragment has the ports.
fn reassembled_packets() -> Result<()> {
    let wire = Wire::new()?;
    wire.host.probe(
        "nft add table inet web
         nft 'add chain inet web input { type filter hook input priority 0 ; }'
         nft add rule inet web input ct state new,established,untracked udp dport 9 counter drop",
    )?;
    let whole = udp(ip4(SENDER, HOST, 64), 9, &[7; 16])?;
    // 24 bytes of UDP: 16 in the first fragment, 8 in the last one.
    let (header, transport) = whole.split_at(TRANSPORT4);
    let document = during(&wire.host, &["--limit", "100000", "udp", "port", "9"], || {
        for id in 1..=10 {
            for (bits, bytes) in [([0x20, 0], &transport[..16]), ([0, 2], &transport[16..])] {
                let frame = [header, bytes].concat();
                let frame =
                    resealed(frame, NETWORK + 2, &[0, u8::try_from(20 + bytes.len())?, 0, id, bits[0], bits[1]]);
                wire.send(&frame)?;
            }
        }
        Ok(())
    })?;
    let ledger = &document["ledger"];
    ensure!(document["rules"][0]["drops"] == 10 && ledger["drops_of_unknown_packets"] == 0, "{document:#}");
    ensure!(ledger["fragments"] == 10 && ledger["not_dropped"] == 0, "{document:#}");
    Ok(())
}

fn table_of_somebody_else() -> Result<()> {
    let wire = dropping()?;
    wire.host.probe(
        "nft add table inet droptrace-trace
         nft 'add chain inet droptrace-trace sample'
         nft add rule inet droptrace-trace sample counter drop",
    )?;
    let before = ruleset(&wire.host)?;
    let inum = wire.host.inum().to_string();
    let refused = Droptrace::spawn(&mut command(&["rule", "--netns", &inum])?)?.wait()?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains("delete it with `nft delete table inet droptrace-trace`"), "{refused:?}");
    ensure!(!refused.stderr.contains("CAP_NET_ADMIN"), "{refused:?}");
    ensure!(ruleset(&wire.host)? == before, "the table changed");
    // The same table as a killed run without an owner leaves it.
    wire.host.commands(
        "nft delete table inet droptrace-trace
         nft add table inet droptrace-trace
         nft add chain inet droptrace-trace sample
         nft 'add chain inet droptrace-trace prerouting { type filter hook prerouting priority -500 ; }'
         nft 'add chain inet droptrace-trace output { type filter hook output priority -500 ; }'
         nft add rule inet droptrace-trace sample counter limit rate 5/second counter meta nftrace set 1 accept
         nft add rule inet droptrace-trace prerouting udp dport 7 goto sample",
    )?;
    let document = during(&wire.host, &["--limit", "100000"], || wire.repeat(PACKETS, &udp4(9)?))?;
    ensure!(document["table_has_owner"] == tables_have_owners()?, "{document:#}");
    ensure!(document["rules"][0]["drops"] == PACKETS, "{document:#}");
    Ok(())
}

/// Somebody else traces all packets: those that do not match are not counted, and those that do are counted once.
fn packets_that_others_trace() -> Result<()> {
    let wire = dropping()?;
    wire.host.probe(
        "nft add table inet other
         nft 'add chain inet other early { type filter hook prerouting priority -400 ; }'
         nft add rule inet other early meta nftrace set 1",
    )?;
    let document = during(&wire.host, &["--limit", "100000", "udp dst port 9"], || {
        wire.repeat(PACKETS, &udp4(9)?)?;
        wire.repeat(PACKETS / 2, &udp4(10)?)
    })?;
    let found: Vec<_> = rows(&document)?.into_iter().map(|row| (row.4, row.5)).collect();
    ensure!(found == [(PACKETS, Some(PACKETS))], "{document:#}");
    ensure!(document["ledger"]["drops_of_unknown_packets"] == PACKETS / 2, "{document:#}");
    Ok(())
}
