//! What droptrace costs: the kernel program for each drop, and userspace for each second.
//!
//! Runs each way to listen in turn with nothing, so that drift of the machine's speed cancels; prints medians and spreads.
#![expect(clippy::cast_precision_loss, reason = "counts and times are far below 2^52")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use tests::droptrace::{self, Droptrace};
use tests::storm::Storm;
use tracer::kernel::btf::KernelBtf;
use tracer::source::ebpf::{Drained, EbpfSource, EventOptions, Mode, Options, RingReader};

const ROUNDS: usize = 9;
const DATAGRAMS: u64 = 400_000;
/// The storm has a CPU of its own, so that the reader does not take its time.
const STORM_CPU: usize = 0;
const READER_CPU: usize = 1;
const LIGHT_TIME: Duration = Duration::from_secs(10);

/// A way to listen.
struct Way {
    name: &'static str,
    mode: Mode,
    events: Option<EventOptions>,
}

const fn records(snaplen: u32, rate: u32) -> EventOptions {
    EventOptions { snaplen, rate, ring_size: 8 << 20 }
}

const WAYS: [Way; 8] = [
    Way { name: "empty program", mode: Mode::Nothing, events: None },
    Way { name: "stat", mode: Mode::TpBtf, events: None },
    Way { name: "trace", mode: Mode::TpBtf, events: Some(records(128, 100)) },
    Way { name: "trace --all", mode: Mode::TpBtf, events: Some(records(128, 0)) },
    Way { name: "trace --all --snaplen 0", mode: Mode::TpBtf, events: Some(records(0, 0)) },
    Way { name: "trace --all --snaplen 1024", mode: Mode::TpBtf, events: Some(records(1024, 0)) },
    Way { name: "stat --mode raw_tracepoint", mode: Mode::RawTracepoint, events: None },
    Way { name: "trace --all --mode raw_tracepoint", mode: Mode::RawTracepoint, events: Some(records(128, 0)) },
];

/// What one run of one way cost.
struct Cost {
    program_ns: f64,
    path_ratio: f64,
    ring_full: u64,
}

fn main() -> Result<()> {
    pin(READER_CPU).context("this needs two CPUs")?;
    let storm = Storm::new()?;
    let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).context("the kernel's BPF statistics")?;
    let btf = KernelBtf::load()?;
    let mut costs: Vec<Vec<Cost>> = WAYS.iter().map(|_| Vec::new()).collect();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (way, costs) in WAYS.iter().zip(&mut costs) {
            costs.push(measure(way, &storm, &btf).with_context(|| way.name.to_owned())?);
        }
    }
    drop(statistics);
    print_costs(&costs);
    print_light()
}

fn measure(way: &Way, storm: &Storm, btf: &KernelBtf) -> Result<Cost> {
    let bare = run(storm)?.ns_per_drop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    let options = Options {
        mode: way.mode,
        map_entries: 8192,
        events: way.events.clone(),
        netns: 0,
        ifindex: 0,
        kernel_log: false,
        by_address: true,
    };
    let (mut source, ring) = EbpfSource::start(&options, btf)?;
    let before = source.program_stats()?;
    let (stormed, drained) = thread::scope(|scope| {
        let sender = scope.spawn(|| run(storm));
        let drained = runtime.block_on(read_until(ring, || sender.is_finished()));
        (sender.join(), drained)
    });
    let stormed = stormed.map_err(|_| anyhow::anyhow!("the storm's thread panicked"))??;
    let after = source.program_stats()?;
    source.detach()?;
    let runs = after.runs - before.runs;
    ensure!(runs >= stormed.drops, "{runs} runs of the program for {} drops", stormed.drops);
    let ledger = source.ledger(&source.totals()?, drained);
    ensure!(ledger.unread() == 0, "the ledger does not add up: {ledger:?}");
    Ok(Cost {
        program_ns: (after.run_time_ns - before.run_time_ns) as f64 / runs as f64,
        path_ratio: stormed.ns_per_drop() / bare,
        ring_full: ledger.events.map_or(0, |events| events.ring_full),
    })
}

/// Lets the storm loose on its CPU.
fn run(storm: &Storm) -> Result<Stormed> {
    run_on(STORM_CPU, storm)
}

fn run_on(cpu: usize, storm: &Storm) -> Result<Stormed> {
    let work = || {
        pin(cpu)?;
        let started = Instant::now();
        storm.send(DATAGRAMS)?;
        Ok(Stormed { took: started.elapsed(), drops: DATAGRAMS - storm.received()? })
    };
    thread::scope(|scope| scope.spawn(work).join().map_err(|_| anyhow::anyhow!("the storm's thread panicked"))?)
}

/// Keeps the calling thread, and those that it starts, on one CPU.
fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("staying on CPU {cpu}"))
}

/// Storms again and again; how many drops.
fn run_for(time: Duration, cpu: usize, storm: &Storm) -> Result<u64> {
    let (mut drops, started) = (0, Instant::now());
    while started.elapsed() < time {
        drops += run_on(cpu, storm)?.drops;
    }
    Ok(drops)
}

struct Stormed {
    took: Duration,
    drops: u64,
}

impl Stormed {
    fn ns_per_drop(&self) -> f64 {
        self.took.as_nanos() as f64 / self.drops as f64
    }
}

/// Reads records, if there are any to come, as `trace` does.
async fn read_until(mut ring: Option<RingReader>, is_over: impl Fn() -> bool) -> Drained {
    let mut sum = Drained::default();
    while !is_over() {
        match &mut ring {
            None => tokio::time::sleep(Duration::from_millis(10)).await,
            Some(ring) => {
                let _ = ring.ready().await;
                let (drained, Ok(())) = ring.drain(u64::MAX, |_| Ok::<(), std::convert::Infallible>(()));
                sum.delivered += drained.delivered;
                sum.undecodable += drained.undecodable;
            }
        }
    }
    sum
}

fn print_costs(costs: &[Vec<Cost>]) {
    let empty = Spread::of(costs[0].iter().map(|cost| cost.program_ns));
    println!("{ROUNDS} rounds of {DATAGRAMS} datagrams, each in turn with nothing; median (least to most)");
    println!(
        "{:<34} {:>28} {:>26} {:>10}",
        "", "program, ns above an empty one", "whole path, times nothing's", "ring full"
    );
    for (way, costs) in WAYS.iter().zip(costs) {
        let program = Spread::of(costs.iter().map(|cost| cost.program_ns - empty.median));
        let path = Spread::of(costs.iter().map(|cost| cost.path_ratio));
        let ring_full: u64 = costs.iter().map(|cost| cost.ring_full).sum();
        let program = format!("{:.1} ({:.1} to {:.1})", program.median, program.least, program.most);
        let path = format!("{:.3} ({:.3} to {:.3})", path.median, path.least, path.most);
        println!("{:<34} {program:>28} {path:>26} {ring_full:>10}", way.name);
    }
    println!("an empty program's own reading: {:.1} ns ({:.1} to {:.1})", empty.median, empty.least, empty.most);
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { least: at(0), median: at(values.len() / 2), most: at(values.len().wrapping_sub(1)) }
    }
}

/// `droptrace stat`, started and left to count a storm on each CPU: what its process takes.
fn print_light() -> Result<()> {
    let storms = [(STORM_CPU, Storm::new()?), (READER_CPU, Storm::new()?)];
    let started = Instant::now();
    let arguments = ["stat", "--interval", "1s", "--format", "json", "--output", "/dev/null"];
    let running = Droptrace::start(&arguments)?;
    let attached = started.elapsed();
    let before = cpu_ticks(running.pid())?;
    let started = Instant::now();
    let drops: Result<u64> = thread::scope(|scope| {
        let storms = storms.each_ref().map(|(cpu, storm)| scope.spawn(|| run_for(LIGHT_TIME, *cpu, storm)));
        storms.into_iter().map(|storm| storm.join().map_err(|_| anyhow::anyhow!("a storm's thread panicked"))?).sum()
    });
    let drops = drops?;
    let seconds = started.elapsed().as_secs_f64();
    // USER_HZ is 100 on all of Linux's architectures that droptrace runs on.
    let busy = (cpu_ticks(running.pid())? - before) as f64 / 100.0;
    let resident = peak_resident(running.pid())?;
    running.finish()?;
    println!("droptrace stat, {:.0} drops a second for {seconds:.0} s:", drops as f64 / seconds);
    println!("  {:.2} % of a CPU, {resident} at the peak", busy / seconds * 100.0);
    println!("  attached {} ms after its start; {}", attached.as_millis(), binary_size()?);
    Ok(())
}

fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th fields behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

fn peak_resident(pid: u32) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(format!("{} resident", line.trim()))
}

fn binary_size() -> Result<String> {
    let path = droptrace::binary()?;
    Ok(format!("its file has {} bytes", fs::metadata(path)?.len()))
}
