//! The table of provoked drops once more, heard by the kernel's own drop monitor: at the rate of the table it tells as
//! many drops at each place as the kernel program counts there, of packets that it tells at all.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::case::{self, Case};
use tests::droptrace::{Droptrace, Finished};
use tests::kernel::{self, Known};
use tests::monitor;
use tests::pause;
use tests::recorder::{Recorded, Recorder, Split};
use tests::trials::{self, Unable, trial_as_root};

/// Reasons that must have been heard exactly.
const REASONS: usize = 15;
/// Cases at a time.
const WORKERS: usize = 6;
/// Namespaces vanish after the case that made them, and drop what they hold: it is over when nothing was dropped for so
/// long.
const QUIET: Duration = Duration::from_secs(3);
/// So often that is waited for.
const MOST_WAITS: usize = 100;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("packet_mode_beside_the_kernel_program", packet_mode),
        trial_as_root("summary_mode", summary_mode),
    ])
}

/// By `compare`, which tells what each of both counted: what the drop monitor leaves out by design is told as such.
fn packet_mode() -> Result<()> {
    // Packets without a link header are skipped (`net_dm_packet_trace_kfree_skb_hit`).
    let (finished, report) =
        told(&["compare", "--format", "json"], ("sites", "net_dm"), |heard| heard.with_link_header)?;
    let places = report["sites"].as_array().context("no sites")?;
    let is_unexplained =
        |row: &&Value| row["not_by_net_dm"]["unexplained"] != 0 || row["not_by_ebpf"]["unexplained"] != 0;
    let unexplained: Vec<_> = places.iter().filter(is_unexplained).collect();
    ensure!(finished.status.success() && unexplained.is_empty(), "{}: {unexplained:#?}", finished.status);
    Ok(())
}

fn summary_mode() -> Result<()> {
    let arguments = ["stat", "--format", "json", "--source", "net-dm", "--net-dm-mode", "summary"];
    let (finished, stat) = told(&arguments, ("drops", "packets"), Split::total)?;
    ensure!(finished.status.success() && stat["sources"][0]["mode"] == "summary", "{finished:?}");
    Ok(())
}

/// Provokes the whole table under one monitor, and compares what it told with what a kernel program of the test's own
/// heard. The document's `rows` are a list and the name of its counts; `told` is what of the drops at a place the monitor
/// tells.
fn told(arguments: &[&str], rows: (&str, &str), told: Told) -> Result<(Finished, Value)> {
    let _alone = monitor::exclusively()?;
    let mut recorder = Recorder::start()?;
    let droptrace = Droptrace::start(arguments)?;
    let provoked = provoke();
    quiet(&mut recorder)?;
    droptrace.signal(Signal::INT)?;
    let finished = droptrace.wait()?;
    let heard = recorder.finish()?;
    let document: Value = serde_json::from_str(&finished.stdout).with_context(|| finished.stderr.clone())?;
    let rows = Rows::of(&document, rows)?;
    rows.all_as_heard(&heard, told)?;
    rows.reasons_told(&provoked?, &heard.drops, told)?;
    Ok((finished, document))
}

/// Waits until nothing is dropped any more.
fn quiet(recorder: &mut Recorder) -> Result<()> {
    for _ in 0..MOST_WAITS {
        let before = recorder.read();
        pause(QUIET);
        if recorder.read() == before {
            return Ok(());
        }
    }
    Err(anyhow!("something is dropped all the time"))
}

/// The cases that can be run here. Some at a time: they wait for the kernel more than they work.
fn provoke() -> Result<Vec<Case>> {
    let cases = Mutex::new(table::cases());
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let worker = || {
        let mut provoked = vec![];
        while let Some(case) = next() {
            match case::provoke(&case) {
                Ok(()) => provoked.push(case),
                Err(error) if error.is::<Unable>() => {}
                Err(error) => return Err(error.context(case.name)),
            }
        }
        Ok(provoked)
    };
    let provoked: Vec<Vec<Case>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a case panicked"))?);
        joined.collect::<Result<_>>()
    })?;
    Ok(provoked.concat())
}

/// How many drops the monitor tells of those at a place.
type Told = fn(&Split) -> u64;

/// A row of the monitor's table.
struct Row {
    address: u64,
    reason: Option<String>,
    symbol: String,
    packets: u64,
}

struct Rows(Vec<Row>);

impl Rows {
    /// Of a document's list, and the name of its counts.
    fn of(document: &Value, (list, count): (&str, &str)) -> Result<Self> {
        let row = |row: &Value| {
            let address = row["address"].as_str().and_then(|address| address.strip_prefix("0x"));
            let symbol = row["symbol"].as_str().context("no symbol")?;
            Ok(Row {
                address: u64::from_str_radix(address.context("no address")?, 16)?,
                reason: row["reason"].as_str().map(str::to_owned),
                symbol: symbol.split('.').next().unwrap_or(symbol).to_owned(),
                packets: row[count].as_u64().context("no count")?,
            })
        };
        // What a packet socket had no room for is no packet of a network by its function.
        let others = document["not_packets"].as_array().into_iter().flatten();
        Ok(Self(document[list].as_array().context("no list")?.iter().chain(others).map(row).collect::<Result<_>>()?))
    }

    /// At each address as many as the kernel program heard, no more and no less, but for what was withheld from it.
    fn all_as_heard(&self, Recorded { drops: heard, withheld }: &Recorded, told: Told) -> Result<()> {
        let mut sums = BTreeMap::<u64, u64>::new();
        for row in &self.0 {
            *sums.entry(row.address).or_default() += row.packets;
        }
        let name = |address: u64| self.0.iter().find(|row| row.address == address).map_or("?", |row| &row.symbol);
        let addresses: BTreeSet<_> = sums.keys().chain(heard.keys()).copied().collect();
        let both = |address: &u64| {
            let split = heard.get(address).copied().unwrap_or_default();
            (sums.get(address).copied().unwrap_or(0), told(&split))
        };
        let counts: Vec<_> = addresses.iter().map(both).collect();
        let is_short = counts.iter().any(|(sum, heard)| sum < heard);
        let beyond: u64 = counts.iter().map(|(sum, heard)| sum.saturating_sub(*heard)).sum();
        println!("{beyond} told beyond what was heard, {withheld} withheld by the kernel");
        let describe = |address| format!("{} {:?} of {:?}", name(address), sums.get(&address), heard.get(&address));
        let is_off = |address: &u64| {
            let (sum, heard) = both(address);
            sum != heard
        };
        let differences: Vec<_> = addresses.iter().copied().filter(is_off).map(describe).collect();
        ensure!(!is_short && beyond <= *withheld, "told of heard, {withheld} withheld: {differences:#?}");
        Ok(())
    }

    /// The drops of the cases are among them, under their reasons where the monitor tells any.
    fn reasons_told(&self, provoked: &[Case], heard: &BTreeMap<u64, Split>, told: Told) -> Result<()> {
        let mut reasons = BTreeSet::new();
        for case in provoked {
            let mut rows: Vec<_> = self.0.iter().filter(|row| case.symbols.contains(&&*row.symbol)).collect();
            if rows.iter().any(|row| row.reason.is_some()) {
                rows.retain(|row| row.reason.as_deref() == Some(case.reason));
            }
            let packets: u64 = rows.iter().map(|row| row.packets).sum();
            let is_known = |row: &&&Row| heard.get(&row.address).is_some_and(|split| told(split) == split.total());
            if !rows.is_empty() && rows.iter().all(|row| is_known(&row)) {
                ensure!(packets >= case.count, "{packets} of {}, not {}", case.name, case.count);
                reasons.insert(case.reason);
            }
        }
        let told = reasons.len();
        println!("{told} reasons in {} cases told exactly", provoked.len());
        let enough = kernel::reason("NOT_SPECIFIED")? == Known::NoReasons || told >= REASONS;
        ensure!(enough, "{told} reasons only: {reasons:?}");
        Ok(())
    }
}
