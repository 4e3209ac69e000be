//! The kernel program and the drop monitor at once: each drop is shown once, and their differences are explained.

use std::collections::BTreeMap;
use std::env;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tests::droptrace::{Droptrace, Finished, command};
use tests::monitor;
use tests::netns::Netns;
use tests::pause;
use tests::storm::{Storm, datagrams};
use tests::trials::{self, Unable, trial_as_root};
use tests::wire::udp;

/// Datagrams of a pace that both sources hold.
const SLOW: u64 = 400;
/// Datagrams of a pace that they may not hold.
const STORM: u64 = 200_000;
/// Long enough on the reference machine for both sources to read all that was dropped. Only for runs that print nothing
/// before their end.
const PAUSE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    trials::run(vec![
        test("slow_drops_are_shown_once_seen_by_both", slow_drops_are_shown_once_seen_by_both),
        test("one_table_has_each_drop_once", one_table_has_each_drop_once),
        test("slow_drops_agree", slow_drops_agree),
        test("a_recording_is_replayed_as_it_was", a_recording_is_replayed_as_it_was),
        test("a_storm_is_explained", a_storm_is_explained),
        test("a_full_queue_is_explained", a_full_queue_is_explained),
        test("packets_without_a_mac_header_are_explained", packets_without_a_mac_header_are_explained),
        test("starting_and_stopping_is_explained", starting_and_stopping_is_explained),
        test("summaries_are_explained", summaries_are_explained),
    ])
}

/// A test that has the drop monitor to itself.
fn test(name: &str, run: fn() -> Result<()>) -> Trial {
    trial_as_root(name, move || {
        let _alone = monitor::exclusively()?;
        run()
    })
}

/// Datagrams with pauses in between; how many of them were dropped.
fn slowly(storm: &Storm) -> Result<u64> {
    let before = storm.dropped()?;
    for _ in 0..SLOW / 20 {
        storm.send(20)?;
        pause(Duration::from_millis(5));
    }
    Ok(storm.dropped()? - before)
}

/// The lines that are printed to their end.
fn whole(text: &str) -> &str {
    text.rsplit_once('\n').map_or("", |(lines, _)| lines)
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}"))).collect()
}

/// Drops of a namespace, by the sources that saw them. The reason's name differs between kernels' versions; all drops
/// belong to the storm.
fn seen_by(lines: &[Value], netns: u32) -> BTreeMap<String, usize> {
    let mut sums = BTreeMap::new();
    let drops = lines.iter().filter(|line| line["schema"] == "droptrace.drop.v1" && line["netns"] == netns);
    drops.for_each(|line| *sums.entry(line["seen_by"].to_string()).or_default() += 1);
    sums
}

fn number(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("{value} is no count"))
}

/// The account of joining adds up.
fn check_union(ledger: &Value) -> Result<()> {
    let union = &ledger["union"];
    let [ebpf, net_dm] = [&union["ebpf"]["delivered"], &union["net_dm"]["delivered"]].map(number);
    let [unique, duplicates, pending] = ["unique", "duplicates", "pending"].map(|field| number(&union[field]));
    ensure!(ebpf? + net_dm? == unique? + duplicates?, "{union}");
    ensure!(pending? == 0, "{union}");
    Ok(())
}

fn slow_drops_are_shown_once_seen_by_both() -> Result<()> {
    let storm = Storm::new()?;
    let droptrace = Droptrace::start(&["trace", "--source", "both", "--format", "json"])?;
    let dropped = usize::try_from(slowly(&storm)?)?;
    let inum = storm.host.inum();
    droptrace.await_printed("all drops", |text| {
        Ok(seen_by(&lines(whole(text))?, inum).values().sum::<usize>() >= dropped)
    })?;
    let lines = lines(&droptrace.finish()?.stdout)?;
    check_union(lines.last().context("no ledger")?)?;
    let expected = BTreeMap::from([(r#"["ebpf","net_dm"]"#.to_owned(), dropped)]);
    let seen = seen_by(&lines, storm.host.inum());
    ensure!(seen == expected, "{seen:?}, expected {expected:?}: {}", lines.last().context("no ledger")?);
    Ok(())
}

fn one_table_has_each_drop_once() -> Result<()> {
    let storm = Storm::new()?;
    let arguments = ["stat", "--source", "both", "--format", "json", "--top", "0", "--interval", "100ms"];
    let droptrace = Droptrace::start(&arguments)?;
    let dropped = slowly(&storm)?;
    let both = json!(["ebpf", "net_dm"]);
    droptrace.await_printed("all drops from both", |text| {
        let Some(line) = whole(text).lines().next_back() else { return Ok(false) };
        let report: Value = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let mut rows = report["drops"].as_array().context("no drops")?.iter();
        let is_all = |row: &Value| row["packets"] == dropped && row["seen_by"] == both;
        Ok(rows.any(|row| row["netns"] == storm.host.inum() && is_all(row)))
    })?;
    let stdout = droptrace.finish()?.stdout;
    let report: Value = serde_json::from_str(stdout.lines().next_back().context("nothing printed")?)?;
    let rows = report["drops"].as_array().context("no drops")?;
    let rows: Vec<_> = rows.iter().filter(|row| row["netns"] == storm.host.inum()).collect();
    ensure!(rows.len() == 1 && rows[0]["packets"] == dropped, "{dropped} were dropped: {report}");
    ensure!(rows[0]["seen_by"] == json!(["ebpf", "net_dm"]), "{report}");
    // No row of the other source has drops of the storm as well.
    let same = |row: &&Value| row["address"] == rows[0]["address"] && row["seen_by"] == json!(["net_dm"]);
    ensure!(report["drops"].as_array().into_iter().flatten().find(same).is_none(), "{report}");
    Ok(())
}

/// The report of `compare` while `provoke` runs.
fn compared(arguments: &[&str], provoke: impl FnOnce() -> Result<()>) -> Result<(Finished, Value)> {
    let droptrace = Droptrace::start(&[&["compare", "--format", "json"], arguments].concat())?;
    provoke()?;
    droptrace.signal(rustix::process::Signal::INT)?;
    let finished = droptrace.wait()?;
    let report: Value = serde_json::from_str(&finished.stdout).with_context(|| format!("{finished:?}"))?;
    check_sums(&report)?;
    let is_explained = report["total"]["unexplained"] == 0;
    ensure!(finished.status.code() == Some(if is_explained { 0 } else { 3 }), "{finished:?}");
    Ok((finished, report))
}

/// Every difference is explained, possible or unexplained.
fn check_sums(report: &Value) -> Result<()> {
    for row in report["sites"].as_array().context("no sites")? {
        for gap in [&row["not_by_net_dm"], &row["not_by_ebpf"]] {
            let parts = gap["explained"].as_array().context("no parts")?;
            let explained: u64 = parts.iter().map(|part| number(&part["packets"])).sum::<Result<_>>()?;
            let rest = number(&gap["possible"])? + number(&gap["unexplained"])?;
            ensure!(number(&gap["packets"])? == explained + rest, "{row}");
        }
    }
    Ok(())
}

/// The row of the function that drops datagrams of a full buffer.
fn storm_row(report: &Value) -> Result<&Value> {
    let sites = report["sites"].as_array().context("no sites")?;
    sites.iter().max_by_key(|row| row["ebpf"].as_u64()).context("no drop site")
}

/// Drops of one cause at one drop site; possible causes have no number of their own.
fn explained_by(row: &Value, cause: &str) -> Result<u64> {
    let parts = row["not_by_net_dm"]["explained"].as_array().context("no parts")?;
    let mut parts = parts.iter().filter(|part| part["cause"] == cause);
    parts.next().map_or(Ok(0), |part| number(&part["packets"]))
}

fn slow_drops_agree() -> Result<()> {
    let storm = Storm::new()?;
    let mut dropped = 0;
    let (_, report) = compared(&[], || {
        dropped = slowly(&storm)?;
        pause(PAUSE);
        Ok(())
    })?;
    let row = storm_row(&report)?;
    ensure!(row["ebpf"] == dropped && row["net_dm"] == dropped, "{dropped} were dropped: {report}");
    ensure!(row["not_by_net_dm"]["packets"] == 0 && row["not_by_ebpf"]["packets"] == 0, "{report}");
    ensure!(report["total"]["unexplained"] == 0, "{report}");
    check_union(&report)
}

fn a_recording_is_replayed_as_it_was() -> Result<()> {
    let storm = Storm::new()?;
    let file = env::temp_dir().join(format!("droptrace-tests-raw-{}.jsonl.zst", std::process::id()));
    let path = file.to_str().context("the folder for temporary files is not UTF-8")?;
    let droptrace = Droptrace::start(&["trace", "--source", "both", "--raw", "--output", path])?;
    let dropped = slowly(&storm)?;
    pause(PAUSE);
    droptrace.finish()?;
    let replayed = Droptrace::spawn(&mut command(&["replay", path, "--format", "json"])?)?.wait()?;
    let stat = Droptrace::spawn(&mut command(&["replay", path, "--stat", "--format", "json"])?)?.wait()?;
    std::fs::remove_file(&file)?;
    ensure!(replayed.status.success() && stat.status.success(), "{replayed:?} {stat:?}");
    let lines = lines(&replayed.stdout)?;
    check_union(lines.last().context("no ledger")?)?;
    let expected = BTreeMap::from([(r#"["ebpf","net_dm"]"#.to_owned(), usize::try_from(dropped)?)]);
    let seen = seen_by(&lines, storm.host.inum());
    ensure!(seen == expected, "{seen:?}, expected {expected:?}");
    let report: Value = serde_json::from_str(&stat.stdout)?;
    let rows = report["drops"].as_array().context("no drops")?;
    ensure!(rows.iter().any(|row| row["netns"] == storm.host.inum() && row["packets"] == dropped), "{report}");
    Ok(())
}

/// The sums are exact: the kernel counts the drops that the drop monitor loses.
fn a_storm_is_explained() -> Result<()> {
    let storm = Storm::new()?;
    let (_, report) = compared(&[], || {
        storm.send(datagrams(STORM)?)?;
        pause(PAUSE);
        Ok(())
    })?;
    let row = storm_row(&report)?;
    ensure!(row["ebpf"] == storm.dropped()?, "{} were dropped: {report}", storm.dropped()?);
    ensure!(report["total"]["unexplained"] == 0, "{report}");
    Ok(())
}

/// dropwatch, which runs the monitor with a queue that holds almost no packets.
struct Dropwatch(Child);

impl Dropwatch {
    fn start() -> Result<Self> {
        let mut command = Command::new("dropwatch");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| Unable(format!("no dropwatch: {error}")))?;
        let mut dropwatch = Self(child);
        let stdin = dropwatch.0.stdin.as_mut().context("stdin is not piped")?;
        stdin.write_all(b"set alertmode packet\nset queue 4\nset trunc 128\nstart\n")?;
        stdin.flush()?;
        monitor::await_running(true)?;
        Ok(dropwatch)
    }
}

impl Drop for Dropwatch {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
        // If dropwatch is killed, it leaves the monitor on, and the next test with its short queue.
        if let Err(error) = monitor::stop_by_others().and_then(|()| monitor::await_running(false)) {
            eprintln!("the drop monitor stays on: {error:#}");
        }
    }
}

fn a_full_queue_is_explained() -> Result<()> {
    let storm = Storm::new()?;
    let dropwatch = Dropwatch::start()?;
    let (finished, report) = compared(&[], || {
        storm.send(20_000)?;
        pause(PAUSE);
        Ok(())
    })?;
    drop(dropwatch);
    ensure!(finished.stderr.contains("another process runs the drop monitor"), "{}", finished.stderr);
    let row = storm_row(&report)?;
    let lost = number(&row["not_by_net_dm"]["packets"])?;
    ensure!(lost > 0 && explained_by(row, "queue_tail_drops")? == lost, "{report}");
    ensure!(report["total"]["unexplained"] == 0, "{report}");
    Ok(())
}

/// Datagrams that are dropped on their way out have no MAC header yet.
fn packets_without_a_mac_header_are_explained() -> Result<()> {
    const SENT: u64 = 30;
    let host = Netns::new()?;
    host.command("ip link set lo up")?;
    host.probe(
        "nft add table inet cases
         nft add chain inet cases output { type filter hook output priority 0 ; }
         nft add rule inet cases output udp dport 9 drop",
    )?;
    let socket = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
    let (_, report) = compared(&[], || {
        // Each call is refused, because the packet was dropped.
        (0..SENT).for_each(|_| drop(socket.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9))));
        pause(PAUSE);
        Ok(())
    })?;
    let row = storm_row(&report)?;
    ensure!(row["ebpf"] == SENT && row["net_dm"] == 0, "{report}");
    ensure!(explained_by(row, "no_mac_header")? == SENT, "{report}");
    Ok(())
}

/// Drops go on while both sources start and stop.
fn starting_and_stopping_is_explained() -> Result<()> {
    let storm = Storm::new()?;
    let is_over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                storm.send(5)?;
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let compared = compared(&[], || {
            pause(PAUSE);
            Ok(())
        });
        is_over.store(true, Ordering::Relaxed);
        sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok::<_, anyhow::Error>(compared?.1)
    })?;
    let row = storm_row(&report)?;
    ensure!(explained_by(row, "net_dm_started_or_stopped")? > 0, "{report}");
    let late = row["not_by_ebpf"]["explained"].as_array().context("no parts")?;
    ensure!(late.iter().any(|part| part["cause"] == "ebpf_started_or_stopped"), "{report}");
    ensure!(report["total"]["unexplained"] == 0, "{report}");
    Ok(())
}

/// Summary mode loses hits without counting them: the missing drops are explained, or possible.
fn summaries_are_explained() -> Result<()> {
    let storm = Storm::new()?;
    let (_, report) = compared(&["--net-dm-mode", "summary"], || {
        storm.send(datagrams(STORM)?)?;
        // Longer than the kernel waits before it sends a summary.
        pause(Duration::from_millis(1500));
        Ok(())
    })?;
    let row = storm_row(&report)?;
    ensure!(row["ebpf"] == storm.dropped()?, "{} were dropped: {report}", storm.dropped()?);
    ensure!(number(&row["net_dm"])? > 0 && report["union"].is_null(), "{report}");
    ensure!(report["total"]["unexplained"] == 0, "{report}");
    Ok(())
}
