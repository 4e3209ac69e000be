//! The table of provoked drops, reported by the kernel's own drop monitor: at the rate of the table it reports as many
//! drops at each drop site as the kernel program counts there, among the packets that it reports at all.

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

/// Number of reasons that the monitor must report exactly.
const REASONS: usize = 15;
/// Cases at a time.
const WORKERS: usize = 6;
/// Namespaces vanish after the case that made them, and drop the packets that they hold: the test is over when no drop
/// came for so long.
const QUIET: Duration = Duration::from_secs(3);
/// Largest number of these waits.
const MOST_WAITS: usize = 100;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("packet_mode_beside_the_kernel_program", packet_mode),
        trial_as_root("summary_mode", summary_mode),
    ])
}

/// `compare` shows the counts of both sources, and names the drops that the drop monitor leaves out by design.
fn packet_mode() -> Result<()> {
    // Packets without a link header are skipped (`net_dm_packet_trace_kfree_skb_hit`).
    let (finished, report) =
        compare_table(&["compare", "--format", "json"], ("sites", "net_dm"), |recorded| recorded.with_link_header)?;
    let sites = report["sites"].as_array().context("no sites")?;
    let is_unexplained =
        |row: &&Value| row["not_by_net_dm"]["unexplained"] != 0 || row["not_by_ebpf"]["unexplained"] != 0;
    let unexplained: Vec<_> = sites.iter().filter(is_unexplained).collect();
    ensure!(finished.status.success() && unexplained.is_empty(), "{}: {unexplained:#?}", finished.status);
    Ok(())
}

fn summary_mode() -> Result<()> {
    let arguments = ["stat", "--format", "json", "--source", "net-dm", "--net-dm-mode", "summary"];
    let (finished, stat) = compare_table(&arguments, ("drops", "packets"), Split::total)?;
    ensure!(finished.status.success() && stat["sources"][0]["mode"] == "summary", "{finished:?}");
    Ok(())
}

/// Provokes the whole table under one monitor, and compares its report with the drops that a kernel program of the
/// test's own recorded. The document's `rows` are a list and the name of its counts; `part` selects the drops at a drop
/// site that the monitor reports.
fn compare_table(arguments: &[&str], rows: (&str, &str), part: ReportedPart) -> Result<(Finished, Value)> {
    let _alone = monitor::exclusively()?;
    let mut recorder = Recorder::start()?;
    let droptrace = Droptrace::start(arguments)?;
    let provoked = provoke();
    quiet(&mut recorder)?;
    droptrace.signal(Signal::INT)?;
    let finished = droptrace.wait()?;
    let by_kernel_program = recorder.finish()?;
    let document: Value = serde_json::from_str(&finished.stdout).with_context(|| finished.stderr.clone())?;
    let rows = Rows::of(&document, rows)?;
    rows.all_as_recorded(&by_kernel_program, part)?;
    rows.check_reasons(&provoked?, &by_kernel_program.drops, part)?;
    Ok((finished, document))
}

/// Waits until no drop has come for some time.
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

/// Runs the cases that can run here, some at a time, because they mostly wait for the kernel.
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

/// Number of the drops at a drop site that the monitor reports.
type ReportedPart = fn(&Split) -> u64;

/// A row of the monitor's table.
struct Row {
    address: u64,
    reason: Option<String>,
    symbol: String,
    packets: u64,
}

struct Rows(Vec<Row>);

impl Rows {
    /// Reads a document's list, with the name of its counts.
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
        // By its function, a drop of a packet socket is not a packet of a network.
        let others = document["not_packets"].as_array().into_iter().flatten();
        Ok(Self(document[list].as_array().context("no list")?.iter().chain(others).map(row).collect::<Result<_>>()?))
    }

    /// Checks that each drop site has as many drops as the kernel program recorded, except those that the kernel
    /// withheld from it.
    fn all_as_recorded(&self, Recorded { drops: recorded, withheld }: &Recorded, part: ReportedPart) -> Result<()> {
        let mut sums = BTreeMap::<u64, u64>::new();
        for row in &self.0 {
            *sums.entry(row.address).or_default() += row.packets;
        }
        let name = |address: u64| self.0.iter().find(|row| row.address == address).map_or("?", |row| &row.symbol);
        let addresses: BTreeSet<_> = sums.keys().chain(recorded.keys()).copied().collect();
        let both = |address: &u64| {
            let split = recorded.get(address).copied().unwrap_or_default();
            (sums.get(address).copied().unwrap_or(0), part(&split))
        };
        let counts: Vec<_> = addresses.iter().map(both).collect();
        let is_short = counts.iter().any(|(sum, recorded)| sum < recorded);
        let beyond: u64 = counts.iter().map(|(sum, recorded)| sum.saturating_sub(*recorded)).sum();
        println!("{beyond} drops reported beyond the recorded ones, {withheld} withheld by the kernel");
        let describe = |address| format!("{} {:?} of {:?}", name(address), sums.get(&address), recorded.get(&address));
        let is_off = |address: &u64| {
            let (sum, recorded) = both(address);
            sum != recorded
        };
        let differences: Vec<_> = addresses.iter().copied().filter(is_off).map(describe).collect();
        ensure!(
            !is_short && beyond <= *withheld,
            "reported and recorded drops differ, {withheld} withheld: {differences:#?}"
        );
        Ok(())
    }

    /// Checks that the report has the drops of the cases, with their reasons where the monitor reports any.
    fn check_reasons(&self, provoked: &[Case], recorded: &BTreeMap<u64, Split>, part: ReportedPart) -> Result<()> {
        let mut reasons = BTreeSet::new();
        for case in provoked {
            let mut rows: Vec<_> = self.0.iter().filter(|row| case.symbols.contains(&&*row.symbol)).collect();
            if rows.iter().any(|row| row.reason.is_some()) {
                rows.retain(|row| row.reason.as_deref() == Some(case.reason));
            }
            let packets: u64 = rows.iter().map(|row| row.packets).sum();
            let is_known = |row: &&&Row| recorded.get(&row.address).is_some_and(|split| part(split) == split.total());
            if !rows.is_empty() && rows.iter().all(|row| is_known(&row)) {
                ensure!(packets >= case.count, "{packets} of {}, not {}", case.name, case.count);
                reasons.insert(case.reason);
            }
        }
        let reported = reasons.len();
        println!("{reported} reasons in {} cases reported exactly", provoked.len());
        let enough = kernel::reason("NOT_SPECIFIED")? == Known::NoReasons || reported >= REASONS;
        ensure!(enough, "{reported} reasons only: {reasons:?}");
        Ok(())
    }
}
