//! `fleet-simulation make …` writes a simulated fleet and its truth, `fleet-simulation score …` compares findings with
//! the truth.
//!
//! `cargo run --release --package tests --bin fleet-simulation -- --help`

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tests::simulation::score::{Verdict, judge, print, read_findings};
use tests::simulation::truth::Truth;
use tests::simulation::{FleetKind, Folders, PAST_DAYS, SERIES, Simulation, Written};

const EXAMPLES: &str = "\
Examples:
  fleet-simulation make /tmp/mixed --kind mixed --seed 1
  droptrace-fleet merge /tmp/mixed/now --baseline /tmp/mixed/past --by folder --format json --named 1000000 > report.json
  fleet-simulation score /tmp/mixed report.json --kinds outlier,group,new_reason

The folder has now/ (the window of ten minutes), past/day-1/ to past/day-7/ (the same ten minutes of the days before, without \
faults), truth.jsonl (the fleet, each fault, each event that is not a fault) and hosts.jsonl (role, rack, kernel, zone and \
driver of each host). Equal arguments give equal bytes. Hosts have rows only for series with drops.";

const RULE: &str = "\
A finding of the kind group makes a single claim about its group, any other one a claim for each host that it names. A claim is right if its \
host, or nearly the same group, has a planted fault in the claim's reason; a group of at most 50 hosts also stands for each of \
its hosts. Further claims about the same fault, about hosts of a group with a fault, and about restarts and deployments are \
neither right nor wrong, but count in the strict precision. A group's fault is found if the group is named, or half of its \
hosts. False positives are a share of all pairs of a host and a reason with drops and without a fault.";

/// Makes simulated fleets with known truth, and compares findings with it
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the snapshots of a simulated fleet, and its truth
    #[command(after_help = EXAMPLES)]
    Make(MakeArgs),
    /// Print how many of the planted faults the findings name, and how many findings are wrong
    #[command(after_help = RULE)]
    Score(ScoreArgs),
}

#[derive(Args, Debug)]
struct MakeArgs {
    /// A new or empty folder
    folder: PathBuf,
    /// web: few roles, hosts much alike; mixed: many roles, many zeros, time zones, restarts, deployments
    #[arg(long, value_name = "KIND", default_value = "web")]
    kind: FleetKind,
    /// Number of hosts
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hosts: u32,
    /// Seed of all draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many times the usual number of faults (373 among 10,000 hosts): 0 for none
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, value_parser = times)]
    faults: f64,
    /// Days before the window, 7 at most
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u8).range(..=7))]
    past: u8,
    /// Name the folders of the snapshots after the hosts' role, rack or zone, for --by folder
    #[arg(long, value_name = "PROPERTY", default_value = "role")]
    folders: Folders,
    /// Do not compress the snapshots
    #[arg(long)]
    plain: bool,
}

#[derive(Args, Debug)]
struct ScoreArgs {
    /// The folder that `make` filled
    folder: PathBuf,
    /// The report of droptrace-fleet (--format json), or JSON lines with kind, reason, host or group, and score
    report: PathBuf,
    /// Judge only findings of these kinds, separated by commas
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    kinds: Vec<String>,
    /// The member of a finding that is the greater, the surer the finding is: a name, or names with dots between
    #[arg(long, value_name = "PATH", default_value = "score")]
    score: String,
    /// Also list faults that were missed, and wrong claims, on stderr
    #[arg(long)]
    list: bool,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Make(args) => make(&args),
        Command::Score(args) => score(&args),
    }
}

fn times(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=10.0).contains(number));
    number.ok_or_else(|| "write a number from 0 to 10".into())
}

fn make(args: &MakeArgs) -> Result<()> {
    let started = Instant::now();
    let simulation = Simulation::new(args.kind, args.hosts as usize, args.seed, args.faults);
    let past = usize::from(args.past).min(PAST_DAYS);
    let written = simulation.write(&args.folder, args.folders, past, if args.plain { "" } else { ".zst" })?;
    println!("| | snapshots | rows | of hosts × {SERIES} series | MB |\n|---|---|---|---|---|");
    for (name, written) in ["the window", "the past"].into_iter().zip(&written) {
        row(name, written);
    }
    eprintln!("{:.1} seconds", started.elapsed().as_secs_f64());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "megabytes and shares")]
fn row(name: &str, written: &Written) {
    let Written { snapshots, rows, bytes, .. } = written;
    let share = *rows as f64 / (snapshots * SERIES).max(1) as f64 * 100.0;
    println!("| {name} | {snapshots} | {rows} | {share:.1} % | {:.1} |", *bytes as f64 / 1e6);
}

fn score(args: &ScoreArgs) -> Result<()> {
    let truth = Truth::read(&args.folder)?;
    let mut findings = read_findings(&args.report, &args.score)?;
    let mut kinds = BTreeMap::<String, usize>::new();
    for finding in &findings {
        *kinds.entry(finding.kind.clone()).or_default() += 1;
    }
    findings.retain(|finding| args.kinds.is_empty() || args.kinds.contains(&finding.kind));
    let score = judge(&truth, &findings);
    let mut out = io::stdout().lock();
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    writeln!(out, "Findings by kind: {}\n", kinds.join(", "))?;
    print(&mut out, &truth, &score)?;
    if args.list {
        let found = score.found();
        for fault in truth.faults.iter().filter(|fault| !found.contains(&fault.id)) {
            let of = fault.host.as_ref().or(fault.group.as_ref()).map_or("", String::as_str);
            eprintln!(
                "missed: {} {of} {} factor {:?} drawn {}",
                fault.kind.name(),
                fault.reason,
                fault.factor,
                fault.drawn
            );
        }
        for claim in score.claims.iter().filter(|claim| claim.verdict == Verdict::Wrong) {
            eprintln!("wrong: {}", claim.words);
        }
    }
    Ok(())
}
