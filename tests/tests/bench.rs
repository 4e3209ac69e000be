//! The benchmark's figures add up, and it leaves no process or file behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, binary, command};
use tests::trials::{self, trial_as_root};
use tests::{eventually, monitor};

const DROPS: u64 = 2048;
/// Rounds where figures are looked at.
const ROUNDS: u64 = 2;
/// Drops that are sent at once.
const BATCH: u64 = 64;
/// Drops before a program is measured.
const WARM_UP: u64 = 256;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("figures_add_up", figures_add_up),
        trial_as_root("owners_and_flows_are_measured", owners_and_flows_are_measured),
        trial_as_root("the_drop_monitor_is_measured", the_drop_monitor_is_measured),
        trial_as_root("missing_programs_are_reported", missing_programs_are_reported),
        trial_as_root("ctrl_c_shows_what_was_measured_and_leaves_nothing", ctrl_c_leaves_nothing),
        trial_as_root("no_process_outlives_the_benchmark", no_process_outlives_the_benchmark),
        trial_as_root("without_capabilities_the_load_is_measured", without_capabilities_the_load_is_measured),
        trial_as_root("missing_capabilities_are_named", missing_capabilities_are_named),
    ])
}

fn bench(arguments: &str) -> Result<std::process::Command> {
    let drops = DROPS.to_string();
    let mut words = vec!["bench", "--quick", "--drops", &drops, "--format", "json"];
    words.extend(arguments.split(' '));
    command(&words)
}

fn rows(report: &Value) -> Result<Vec<&Value>> {
    let series = report["series"].as_array().context("no series")?;
    Ok(series.iter().filter_map(|series| series["rows"].as_array()).flatten().collect())
}

fn figures_add_up() -> Result<()> {
    let page = std::env::temp_dir().join(format!("droptrace-bench-{}.html", std::process::id()));
    let arguments = "--series cost,keys,cpus,loads --only nothing,stat,trace,trace-all --rounds 2 --html";
    let report = measured(bench(arguments)?.arg(&page))?;
    let html = fs::read_to_string(&page)?;
    fs::remove_file(&page)?;
    ensure!(html.contains("<svg") && html.ends_with("</html>\n"), "no page: {html}");
    all_that_was_asked_for(&report)?;
    let rows = rows(&report)?;
    let missing = ["stat", "trace", "trace-all"].into_iter().find(|name| {
        let cost = |row: &&&Value| row["configuration"] == *name && row["load"] == "full-buffer";
        rows.iter().find(cost).is_none_or(|row| row["figures"].is_null())
    });
    ensure!(missing.is_none(), "no figures of {missing:?}: {report}");
    rows.into_iter().try_for_each(|row| figures_of_row_add_up(row).with_context(|| row.to_string()))
}

/// The series, the targets in each, and their number of rounds; a plan that is not quick has more.
fn all_that_was_asked_for(report: &Value) -> Result<()> {
    let mut found = BTreeMap::new();
    for series in report["series"].as_array().context("no series")? {
        ensure!(series["rounds"] == ROUNDS, "{} rounds: {report}", series["rounds"]);
        let rows = series["rows"].as_array().context("no rows")?;
        let mut who: Vec<_> = rows.iter().filter_map(|row| row["configuration"].as_str()).collect();
        who.sort_unstable();
        found.insert(series["name"].as_str().context("no name")?, who);
    }
    // One processor, two, four, …, all of them.
    let cpus = found.get("cpus").map_or(0, Vec::len) / 2;
    let expected = BTreeMap::from([
        ("cost", vec!["nothing", "stat", "trace", "trace-all"]),
        ("keys", vec!["stat"; 3]),
        ("cpus", [vec!["stat"; cpus], vec!["trace-all"; cpus]].concat()),
        ("loads", vec!["stat", "trace-all"]),
    ]);
    ensure!(found == expected && cpus > 0, "{found:?}");
    Ok(())
}

/// The report of a benchmark that runs to its end. The run takes long in an emulated machine.
fn measured(command: &mut std::process::Command) -> Result<Value> {
    let finished = command.output()?;
    ensure!(finished.status.success(), "{finished:?}");
    let report: Value = serde_json::from_slice(&finished.stdout)?;
    ensure!(report["schema"] == "droptrace.bench.v1" && report["complete"] == true, "{report}");
    Ok(report)
}

fn owners_and_flows_are_measured() -> Result<()> {
    let targets = "stat,stat-owners,stat-flows,bpftrace-owners,bpftrace-flows";
    let report = measured(&mut bench(&format!("--series owners,flows --only {targets} --rounds 2"))?)?;
    let rows = rows(&report)?;
    let found: Vec<_> = rows.iter().map(|row| (row["configuration"].as_str(), row["flows"].as_u64())).collect();
    let owners = ["stat", "stat-owners", "bpftrace-owners"].map(|name| (Some(name), None));
    let flows =
        ["stat", "stat-flows", "bpftrace-flows"].map(|name| [64, 16_000].map(|flows| (Some(name), Some(flows))));
    ensure!(found == [&owners[..], flows.as_flattened()].concat(), "{found:?}");
    rows.into_iter().try_for_each(|row| figures_of_row_add_up(row).with_context(|| row.to_string()))
}

fn the_drop_monitor_is_measured() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let report = measured(&mut bench("--series cost --only net-dm-summary,net-dm-packet,both --rounds 2")?)?;
    let rows = rows(&report)?;
    ensure!(rows.len() == 3, "{report}");
    rows.into_iter().try_for_each(|row| figures_of_row_add_up(row).with_context(|| row.to_string()))
}

/// The row's drops equal the kernel's own counters, or the row has an error instead of figures.
fn figures_of_row_add_up(row: &Value) -> Result<()> {
    let (figures, target) = (&row["figures"], row["configuration"].as_str().context("no target")?);
    let is_bpftrace = target.starts_with("bpftrace");
    ensure!(figures.is_null() != row["error"].is_null(), "figures or an error");
    if figures.is_null() {
        // `nft`, a kernel's part of it, or bpftrace may be missing; all other loads and targets must be measured.
        ensure!(row["load"] == "nftables" || is_bpftrace, "not measured");
        return Ok(());
    }
    let number = |field: &str| figures[field].as_u64().with_context(|| format!("no {field}"));
    let sent = number("sent")?;
    // Each processor sends whole batches.
    let cpus = row["cpus"].as_u64().context("no processors")?;
    let whole = |drops: u64| drops.div_ceil(cpus).next_multiple_of(BATCH) * cpus;
    // A program receives some drops to warm up, and a quarter more where the kernel reports the run time of BPF
    // programs.
    let warm = whole(DROPS) + whole(WARM_UP);
    let of_round = if target == "nothing" { vec![whole(DROPS)] } else { vec![warm, warm + whole(DROPS / 4)] };
    ensure!(of_round.iter().any(|drops| sent == ROUNDS * drops), "{sent} sent in {ROUNDS} rounds of {of_round:?}");
    if target == "nothing" {
        ensure!(
            ["account", "program_ns", "cpu_ns"].iter().all(|field| figures[field].is_null()),
            "no program reports them"
        );
        return Ok(());
    }
    ensure!(number("peak_bytes")? > 0 && figures["attach_ns"]["median"].as_f64() > Some(0.0), "no process");
    let account = &figures["account"];
    let accounted = account["accounted"].as_u64().context("no accounted drops")?;
    let lost = account["lost"].as_array().context("no losses")?.iter();
    let lost: u64 = lost.map(|lost| lost["drops"].as_u64().context("no drops")).sum::<Result<_>>()?;
    ensure!(sent == accounted + lost, "{sent} sent != {accounted} accounted + {lost} lost");
    // The drop monitor and bpftrace report no namespaces, and other tests cause drops at the same drop sites.
    let knows_no_netns = ["net-dm-summary", "net-dm-packet", "both"].contains(&target) || is_bpftrace;
    ensure!(account["foreign"] == 0 || knows_no_netns, "others' drops");
    if target.starts_with("stat") {
        ensure!(lost == 0, "counts are never lost");
    }
    Ok(())
}

fn missing_programs_are_reported() -> Result<()> {
    let mut command = bench("--series cost --only nothing,bpftrace,retis --rounds 1")?;
    command.env("PATH", "/nowhere");
    let finished = Droptrace::spawn(&mut command)?.wait()?;
    ensure!(finished.status.success(), "{finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout)?;
    let errors: Vec<_> = rows(&report)?.into_iter().map(|row| (&row["configuration"], &row["error"])).collect();
    let reported = |name: &str| errors.iter().find(|(who, _)| *who == name).map(|(_, error)| error.as_str());
    ensure!(reported("nothing") == Some(None), "{errors:?}");
    for absent in ["bpftrace", "retis"] {
        ensure!(reported(absent) == Some(Some("not found on PATH")), "{errors:?}");
    }
    Ok(())
}

/// A benchmark that measures and has gone some way.
struct Running {
    child: Child,
    /// Open, because the benchmark prints more lines, which fit the pipe.
    _stderr: Lines<BufReader<ChildStderr>>,
    programs: BTreeSet<u32>,
}

impl Running {
    fn start() -> Result<Self> {
        let mut child = bench("--series cost --only stat,trace-all --rounds 100000")?.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr is not piped")?).lines();
        let second = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("round 2 of")));
        let said = second.context("it ended too early")?;
        let mut programs = BTreeSet::new();
        eventually("a program to be measured", || {
            programs = children_of(child.id())?;
            Ok(!programs.is_empty())
        })?;
        said?;
        Ok(Self { child, _stderr: lines, programs })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    fn leaves_nothing(&self) -> Result<()> {
        for program in &self.programs {
            eventually("what was measured to end", || has_ended(*program))?;
        }
        Ok(())
    }
}

/// Whoever inherits it may not wait for it.
fn has_ended(program: u32) -> Result<bool> {
    let Ok(stat) = fs::read_to_string(format!("/proc/{program}/stat")) else { return Ok(true) };
    Ok(stat.rsplit_once(')').context("no name in stat")?.1.trim_start().starts_with('Z'))
}

fn children_of(parent: u32) -> Result<BTreeSet<u32>> {
    let mut children = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ended meanwhile has no parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields = stat.rsplit_once(')').context("no name in stat")?.1;
        if fields.split_whitespace().nth(1) == Some(&parent.to_string()) {
            children.insert(pid);
        }
    }
    Ok(children)
}

fn folder_of(bench: u32) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("droptrace-bench-{bench}"))
}

fn ctrl_c_leaves_nothing() -> Result<()> {
    let running = Running::start()?;
    let folder = folder_of(running.child.id());
    ensure!(folder.is_dir(), "no {}: this test looks for the wrong one", folder.display());
    running.signal(Signal::INT)?;
    let Running { child, programs, .. } = running;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["complete"] == false, "it says that it is complete");
    rows(&report)?.into_iter().try_for_each(|row| {
        ensure!(row["error"].is_null(), "Ctrl-C is nobody's error: {row}");
        Ok(())
    })?;
    for program in programs {
        ensure!(!fs::exists(format!("/proc/{program}"))?, "{program} is still there");
    }
    ensure!(!folder.exists(), "{} is still there", folder.display());
    Ok(())
}

fn no_process_outlives_the_benchmark() -> Result<()> {
    let mut running = Running::start()?;
    running.signal(Signal::KILL)?;
    running.child.wait()?;
    fs::remove_dir_all(folder_of(running.child.id()))?;
    running.leaves_nothing()
}

/// `droptrace bench` without capabilities, started by the command `within`.
fn bench_without_capabilities(within: &[&str]) -> Result<Finished> {
    let words = [within, &["/usr/bin/setpriv", "--bounding-set=-all", "--inh-caps=-all"]].concat();
    let mut command = std::process::Command::new(words[0]);
    command.args(&words[1..]).arg(binary()?);
    command.args(["bench", "--quick", "--series", "cost", "--rounds", "2", "--drops", "2048", "--format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Droptrace::spawn(&mut command)?.wait()
}

/// The cost of the drops alone is measured; targets that are not available are listed with the reason.
fn without_capabilities_the_load_is_measured() -> Result<()> {
    let finished = bench_without_capabilities(&[])?;
    ensure!(finished.status.success(), "{finished:?}");
    ensure!(finished.stderr.contains("run `droptrace bench` as root to compare all targets"), "{finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout)?;
    for row in rows(&report)?.into_iter().filter(|row| row["load"] == "full-buffer") {
        if row["configuration"] == "nothing" {
            figures_of_row_add_up(row)?;
        } else {
            ensure!(row["figures"].is_null() && row["error"].as_str().is_some_and(|it| !it.is_empty()), "{row}");
        }
    }
    Ok(())
}

fn missing_capabilities_are_named() -> Result<()> {
    // In a user namespace that may hold no others.
    let script = r#"echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@""#;
    let finished = bench_without_capabilities(&["unshare", "--map-root-user", "sh", "-c", script])?;
    ensure!(finished.status.code() == Some(1) && finished.stdout.is_empty(), "{finished:?}");
    ensure!(finished.stderr.contains("needs CAP_SYS_ADMIN: run `droptrace bench` as root"), "{finished:?}");
    Ok(())
}
