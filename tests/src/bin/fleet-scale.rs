//! `fleet-scale [--plain] HOSTS[:SEED]…`: makes snapshots of so many hosts with 500 rows each, of two days, has the
//! optimized `droptrace-fleet merge` analyse them, and prints its cost and how many of the planted faults it found.
//!
//! `cargo build --release && cargo run --release --package tests --bin fleet-scale -- 100 1000 10000`

use std::env;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tests::droptrace::fleet_binary;
use tests::fleet::judge::{Verdict, found};
use tests::fleet::{Day, World};

const ROWS: usize = 500;
/// How often the peak of the memory and the time of processors are asked for.
const INTERVAL: Duration = Duration::from_millis(2);

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (flags, hosts): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument == "--plain");
    let ending = if flags.is_empty() { ".zst" } else { "" };
    if hosts.is_empty() {
        bail!("usage: fleet-scale [--plain] HOSTS[:SEED]…");
    }
    println!(
        "| hosts | compared with | read, MB | seconds | of processors | resident at the peak, MB | precision | recall | faint outliers found, 10 to 100, to 1,000, to 10,000 times the median |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for hosts in hosts {
        let (hosts, seed) = hosts.split_once(':').unwrap_or((&hosts, "1"));
        measure(hosts.parse().context("not a number of hosts")?, seed.parse().context("not a number")?, ending)?;
    }
    Ok(())
}

fn measure(hosts: usize, seed: u64, ending: &str) -> Result<()> {
    let folder = env::temp_dir().join(format!("droptrace-fleet-scale-{}", std::process::id()));
    let result = measure_in(&folder, hosts, seed, ending);
    fs::remove_dir_all(&folder)?;
    result
}

fn measure_in(folder: &Path, hosts: usize, seed: u64, ending: &str) -> Result<()> {
    let world = World::new(hosts, ROWS, seed)?;
    let (now, before) = (folder.join("now"), folder.join("before"));
    let bytes = world.write(&now, Day::Now, ending)?;
    let bytes_before = world.write(&before, Day::Before, ending)?;
    let alone = run(&[now.as_os_str()])?;
    row(hosts, "nothing", bytes, &alone, None);
    let compared = run(&[now.as_os_str(), "--baseline".as_ref(), before.as_os_str()])?;
    let report: Value = serde_json::from_slice(&compared.results)?;
    let verdict = Verdict::of(&found(&report)?, world.planted());
    row(hosts, "a baseline", bytes + bytes_before, &compared, Some(&verdict));
    for (what, names) in [("missed", &verdict.missed), ("invented", &verdict.invented)] {
        for name in names {
            eprintln!("{what}: {name}");
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "megabytes and seconds")]
fn row(hosts: usize, with: &str, bytes: u64, run: &Run, verdict: Option<&Verdict>) {
    let (megabytes, seconds, peak) = (bytes as f64 / 1e6, run.took.as_secs_f64(), run.peak_kib as f64 * 1.024e-3);
    let cpu = run.ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    print!("| {hosts} | {with} | {megabytes:.0} | {seconds:.2} | {cpu:.2} | {peak:.0} |");
    let Some(verdict) = verdict else { return println!(" | | |") };
    let faint = verdict.faint.values().map(|(found, planted)| format!("{found} of {planted}"));
    let faint = faint.collect::<Vec<_>>().join(", ");
    println!(" {:.4} | {:.4} | {faint} |", verdict.precision(), verdict.recall());
}

struct Run {
    took: Duration,
    peak_kib: u64,
    ticks: u64,
    results: Vec<u8>,
}

fn run(arguments: &[&std::ffi::OsStr]) -> Result<Run> {
    let mut command = Command::new(fleet_binary()?);
    command.arg("merge").args(arguments).args(["--format", "json", "--named", "1000000"]);
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting droptrace-fleet")?;
    let mut pipe = child.stdout.take().context("stdout is not piped")?;
    let reader = thread::spawn(move || {
        let mut results = Vec::new();
        pipe.read_to_end(&mut results).map(|_| results)
    });
    let (mut peak_kib, mut ticks) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // The peak shortly before the end.
        peak_kib = peak(child.id()).unwrap_or(peak_kib);
        ticks = self::ticks(child.id()).unwrap_or(ticks);
        thread::sleep(INTERVAL);
    };
    let took = started.elapsed();
    let results = reader.join().ok().context("the reader panicked")??;
    if status.code() != Some(3) {
        bail!("droptrace-fleet ended with {status}");
    }
    Ok(Run { took, peak_kib, ticks, results })
}

/// `VmHWM`, which only grows.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Time of processors, of the program and of the kernel for it (`proc_pid_stat(5)`, fields 14 and 15).
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(ticks(14)? + ticks(15)?)
}
