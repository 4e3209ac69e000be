//! Reads what each program reported about the load, and compares the report with the drops that were sent.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::target::Target;

/// The report of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    /// The number of drops that the program counted or showed.
    pub(super) seen: u64,
    /// The number of drops that the program counted and did not show, because its options limit the output.
    pub(super) held_back: u64,
    /// The numbers of drops that the program reported as lost, by cause.
    pub(super) lost: Vec<(String, u64)>,
    /// The program knows each drop of the load, and no other drops.
    pub(super) is_exact: bool,
    /// The program always reports how many drops it lost.
    pub(super) reports_losses: bool,
    /// The program reported that it lost drops, but not how many.
    pub(super) reports_uncounted_loss: bool,
}

/// The result for the drops that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) accounted: u64,
    pub(super) held_back: u64,
    /// Other drops, which a program without network namespaces also reports.
    pub(super) foreign: u64,
    pub(super) lost: Vec<(String, u64)>,
}

/// The causes of missing drops for which the program reported no number.
const WITHOUT_A_WORD: &str = "without a word";
const WITHOUT_A_NUMBER: &str = "without a number";

impl Reported {
    /// # Errors
    /// Fails if the report contradicts the number of drops that were sent.
    pub(super) fn account(self, sent: u64) -> Result<Account> {
        let Self { seen, held_back, mut lost, is_exact, reports_losses, reports_uncounted_loss } = self;
        let reported_lost: u64 = lost.iter().map(|(_, drops)| drops).sum();
        let sum = seen + held_back + reported_lost;
        ensure!(
            !is_exact || sum == sent,
            "its account does not add up: {sent} sent, {seen} seen + {held_back} held back + {lost:?} lost"
        );
        ensure!(
            !reports_losses || sum >= sent,
            "its account is short: {sent} sent, {seen} seen + {held_back} held back + {lost:?} lost"
        );
        let accounted = sent.min(seen + held_back);
        let missing = sent - accounted;
        if missing == 0 {
            lost.clear();
        } else if reported_lost < missing {
            let cause = if reports_uncounted_loss { WITHOUT_A_NUMBER } else { WITHOUT_A_WORD };
            lost.push((cause.into(), missing - reported_lost));
        }
        lost.retain(|(_, drops)| *drops > 0);
        Ok(Account { accounted, held_back, foreign: (seen + held_back).saturating_sub(sent), lost })
    }
}

/// Reads the output of a program. `sites` has the drop-site addresses of the load, if they are known.
pub(super) fn read(target: Target, stdout: &str, stderr: &str, sites: Option<&HashSet<u64>>) -> Result<Reported> {
    let is_here = |address: u64| sites.is_none_or(|sites| sites.contains(&address));
    match target {
        Target::Bpftrace | Target::BpftraceOwners => bpftrace(stdout, |key| Some(is_here(number(key.get(1)?)?))),
        Target::BpftraceFlows => bpftrace(stdout, is_loopback),
        Target::Perf => perf(stdout),
        Target::DropwatchSummary => dropwatch_summary(stdout, is_here),
        Target::DropwatchPacket => Ok(counted(count(stdout, "drop at:"))),
        Target::Retis => Ok(counted(count(stdout, " drop (") + count(stderr, " drop ("))),
        Target::Nothing | Target::Empty => Ok(Reported::default()),
        Target::Both => both(stdout, is_here),
        _ => droptrace(stdout, is_here),
    }
}

fn counted(seen: u64) -> Reported {
    Reported { seen, ..Reported::default() }
}

fn count(text: &str, words: &str) -> u64 {
    text.lines().filter(|line| line.contains(words)).count() as u64
}

/// Reads rows such as `@[2, 0xffffffff…]: 12`. `is_of_load` decides by the parts of the key; `None` for a key of another
/// form.
fn bpftrace(text: &str, is_of_load: impl Fn(&[&str]) -> Option<bool>) -> Result<Reported> {
    let row = |line: &str| -> Option<(bool, u64)> {
        let (key, count) = line.strip_prefix("@[")?.split_once("]: ")?;
        Some((is_of_load(&key.split(", ").collect::<Vec<_>>())?, count.trim().parse().ok()?))
    };
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with('@')) {
        let (is_of_load, count) = row(line).with_context(|| format!("cannot read `{line}`"))?;
        seen += if is_of_load { count } else { 0 };
    }
    Ok(counted(seen))
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Returns whether a flow of bpftrace, as numbers in the headers, is from and to 127.0.0.0/8, as each load of UDP is.
fn is_loopback(key: &[&str]) -> Option<bool> {
    let address = |text: &str| Some(Ipv4Addr::from(text.parse::<u32>().ok()?.to_ne_bytes()));
    let [source, _, destination, _, _] = key else { return None };
    Some(address(source)?.is_loopback() && address(destination)?.is_loopback())
}

/// Reads `perf report --stats`: `SAMPLE events: 12`. Each of the `LOST events` stands for several samples, whose number
/// perf does not report.
fn perf(text: &str) -> Result<Reported> {
    if !text.contains("TOTAL events:") {
        bail!("perf report prints no statistics");
    }
    let events = |kind: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(kind)?.strip_prefix(" events:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        Ok(number.map_or(Ok(0), str::parse)?)
    };
    Ok(Reported { reports_uncounted_loss: events("LOST")? > 0, ..counted(events("SAMPLE")?) })
}

/// Reads lines such as `12 drops at nft_do_chain+3e8 (0xffffffff…) [software]`, or `12 drops at location 0xffffffff…
/// [software]`.
fn dropwatch_summary(text: &str, is_here: impl Fn(u64) -> bool) -> Result<Reported> {
    let mut seen = 0_u64;
    for line in text.lines() {
        let Some((count, site)) = line.split_once(" drops at ") else { continue };
        let address = site.split_once("0x").and_then(|(_, rest)| rest.split([')', ' ']).next());
        let address = address.and_then(|address| u64::from_str_radix(address, 16).ok());
        let (address, count) =
            address.zip(count.trim().parse().ok()).with_context(|| format!("cannot read `{line}`"))?;
        seen += if is_here(address) { count } else { 0 };
    }
    Ok(counted(seen))
}

/// Reads one account of both backends. The BPF program sees each drop.
fn both(text: &str, is_here: impl Fn(u64) -> bool) -> Result<Reported> {
    let document: Value = serde_json::from_str(text).context("cannot read what droptrace printed")?;
    let ledger = document["sources"].as_array().and_then(|sources| sources.iter().find(|it| it["source"] == "ebpf"));
    let missed = ledger.context("droptrace took one source only")?["ledger"]["missed"].as_u64();
    let seen = at_drop_sites(&document["drops"], is_here)?.context("droptrace reports no drops")?;
    let lost = vec![("missed".to_owned(), missed.unwrap_or(0))];
    Ok(Reported { seen, lost, reports_losses: true, ..Reported::default() })
}

/// The number of packets in the rows with the load's drop sites; `None` if the document has no rows.
fn at_drop_sites(rows: &Value, is_here: impl Fn(u64) -> bool) -> Result<Option<u64>> {
    let address = |row: &Value| u64::from_str_radix(row["address"].as_str()?.strip_prefix("0x")?, 16).ok();
    let Some(rows) = rows.as_array() else { return Ok(None) };
    let here = rows.iter().filter(|row| address(row).is_some_and(&is_here));
    here.map(|row| row["packets"].as_u64().with_context(|| format!("no packets in {row}"))).sum::<Result<_>>().map(Some)
}

/// Reads the last document of `stat`, or the ledger of `trace`.
fn droptrace(text: &str, is_here: impl Fn(u64) -> bool) -> Result<Reported> {
    let document: Value = serde_json::from_str(text).context("cannot read what droptrace printed")?;
    let sources = document["sources"].as_array().context("droptrace reports no sources")?;
    let ledger = |name: &str| sources.iter().find(|source| source["source"] == name).map(|source| &source["ledger"]);
    if let Some(ledger) = ledger("ebpf") {
        rows_add_up(&document, ledger)?;
        return ebpf(ledger);
    }
    net_dm(ledger("net_dm").context("droptrace took neither source")?, &document, is_here)
}

/// Verifies that the rows of `stat`, and what it reports of their owners and flows, have all counted drops.
fn rows_add_up(document: &Value, ledger: &Value) -> Result<()> {
    let of = |value: &Value, names: &[&str]| names.iter().map(|name| value[name].as_u64()).sum::<Option<u64>>();
    let counted = of(ledger, &["accounted", "overflow"]);
    let tables: Option<Vec<_>> =
        ["drops", "not_packets", "overflow"].map(|it| document[it].as_array()).into_iter().collect();
    let rows = tables.map(|tables| tables.into_iter().flatten().map(|row| row["packets"].as_u64()).sum());
    let part = |field: &str, names: &[&str]| (!document[field].is_null()).then(|| of(&document[field], names));
    let owners = part("attribution", &["attributed", "unknown", "no_socket", "no_room"]);
    let flows = part("flows", &["by_flow", "others", "no_flow", "no_room"]);
    for (name, sum) in [("rows", rows), ("owners", owners), ("flows", flows)] {
        ensure!(sum.is_none_or(|sum| sum == counted), "its {name} do not add up: {sum:?} of {counted:?} counted drops");
    }
    Ok(())
}

fn ebpf(ledger: &Value) -> Result<Reported> {
    let number = |of: &Value, field: &str| of[field].as_u64().with_context(|| format!("no {field} in {of}"));
    let [hits, accounted, overflow, filtered] =
        ["hits", "accounted", "overflow", "filtered"].map(|field| number(ledger, field));
    ensure!(hits? == accounted? + overflow? + filtered?, "its ledger does not add up: {ledger}");
    let uncounted = number(ledger, "lost")?;
    let events = &ledger["events"];
    let (seen, held_back, mut lost) = if events.is_null() {
        (number(ledger, "accounted")? + number(ledger, "overflow")?, 0, vec![])
    } else {
        let lost = ["ring_full", "undecodable", "pending"];
        let lost = lost.into_iter().map(|cause| Ok((cause.to_owned(), number(events, cause)?)));
        (number(events, "delivered")?, number(events, "suppressed")?, lost.collect::<Result<Vec<_>>>()?)
    };
    // Datagrams that a socket leaves unread when it closes have no network namespace any more, so the filter lets them
    // pass. They are rare, so the sampler shows them.
    let seen = seen.saturating_sub(number(ledger, "unknown_netns")?);
    // This number includes the drops of all network namespaces.
    lost.push(("missed".into(), uncounted));
    Ok(Reported {
        seen,
        held_back,
        lost,
        is_exact: uncounted == 0,
        reports_losses: true,
        reports_uncounted_loss: false,
    })
}

fn net_dm(ledger: &Value, document: &Value, is_here: impl Fn(u64) -> bool) -> Result<Reported> {
    let seen = match at_drop_sites(&document["drops"], is_here)? {
        Some(seen) => seen,
        None => ledger["accounted"].as_u64().context("no accounted drops")?,
    };
    let causes = ["tail_drops", "socket_drops", "undecodable"];
    let lost = causes.map(|cause| (cause.to_owned(), ledger[cause].as_u64().unwrap_or(0)));
    Ok(Reported { seen, lost: lost.into(), reports_losses: !ledger["lost"].is_null(), ..Reported::default() })
}

#[cfg(test)]
mod tests;
