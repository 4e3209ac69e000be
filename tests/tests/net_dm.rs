//! The kernel's own drop monitor: droptrace reports its losses under load, and leaves a monitor of another process
//! alone.

use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tests::agent::Agent;
use tests::droptrace::{Droptrace, Finished, binary};
use tests::eventually;
use tests::kernel;
use tests::monitor::{self, Dropwatch};
use tests::netns::Netns;
use tests::pace::Deadline;
use tests::storm::{REASON, Storm, datagrams};
use tests::trials::{self, Unable, trial_as_root};
use tracer::backend::net_dm::{AlertMode, Found};

/// More than the monitor's queues and the socket hold, where the reader sleeps.
const DATAGRAMS: u64 = 150_000;
/// Attempts to unload the module at the right moment.
const ATTEMPTS: u32 = 10;
/// A short run with the first available backend.
const SHORTLY: [&str; 5] = ["stat", "--format", "json", "--duration", "300ms"];
/// The note of droptrace's changes, which exists while it runs.
const NOTE: &str = "/run/droptrace/net_dm.state";

fn main() -> ExitCode {
    trials::run([under_load(), manners(), robustness()].into_iter().flatten().collect())
}

fn under_load() -> Vec<Trial> {
    vec![
        trial_as_root("a_storm_in_packet_mode", || {
            storm(&["--net-dm-mode", "packet"], |_, storm| storm.send(datagrams(DATAGRAMS)?))
                .and_then(|stormed| stormed.all_accounted_for())
        }),
        trial_as_root("a_storm_while_the_reader_sleeps", || {
            let stormed = storm(&["--net-dm-mode", "packet"], |droptrace, storm| {
                droptrace.signal(Signal::STOP)?;
                storm.send(DATAGRAMS)?;
                droptrace.signal(Signal::CONT)
            })?;
            ensure!(stormed.lost()? != Some(0), "nothing was lost, though nobody read: {}", stormed.ledger);
            stormed.all_accounted_for()
        }),
        trial_as_root("a_storm_in_summary_mode", || {
            let stormed = storm(&["--net-dm-mode", "summary"], |_, storm| storm.send(datagrams(DATAGRAMS)?))?;
            let Stormed { seen, dropped, ledger } = &stormed;
            ensure!(seen <= dropped && *seen > 0, "{seen} seen of {dropped}");
            ensure!(
                ledger["lost"].is_null(),
                "summary mode does not count what it loses, yet a loss is reported: {ledger}"
            );
            Ok(())
        }),
    ]
}

/// The counts of a storm.
struct Stormed {
    /// Drops of the storm that droptrace saw.
    seen: u64,
    /// Drops of the storm by the kernel's count.
    dropped: u64,
    ledger: Value,
}

impl Stormed {
    fn lost(&self) -> Result<Option<u64>> {
        let lost = &self.ledger["lost"];
        if lost.is_null() {
            return Ok(None);
        }
        Ok(Some(lost.as_u64().with_context(|| format!("lost is no number: {}", self.ledger))?))
    }

    /// Seen and lost drops are all drops; where the kernel does not report the losses, droptrace claims none.
    fn all_accounted_for(&self) -> Result<()> {
        let Self { seen, dropped, ledger } = self;
        match self.lost()? {
            Some(lost) => ensure!(seen + lost == *dropped, "{seen} seen + {lost} lost != {dropped}: {ledger}"),
            None => ensure!(ledger["socket_drops"].is_null() && seen <= dropped, "{seen} of {dropped}: {ledger}"),
        }
        Ok(())
    }
}

fn storm(arguments: &[&str], drive: impl FnOnce(&Droptrace, &Storm) -> Result<()>) -> Result<Stormed> {
    let _alone = monitor::exclusively()?;
    let storm = Storm::new()?;
    let droptrace = listen(arguments)?;
    drive(&droptrace, &storm)?;
    let stat = counted(&droptrace.finish()?)?;
    let rows = stat["drops"].as_array().context("no drops")?;
    let is_of_storm = |row: &&Value| {
        let symbol = row["symbol"].as_str().unwrap_or_default();
        (row["reason"] == REASON || row["reason"].is_null()) && symbol.contains("udp_queue_rcv")
    };
    let seen = rows.iter().filter(is_of_storm).filter_map(|row| row["packets"].as_u64()).sum();
    Ok(Stormed { seen, dropped: storm.dropped()?, ledger: stat["sources"][0]["ledger"].clone() })
}

fn manners() -> Vec<Trial> {
    vec![
        trial_as_root(
            "monitor_of_another_process_is_read_and_left_alone",
            monitor_of_another_process_is_read_and_left_alone,
        ),
        trial_as_root("single_drops_are_not_made_of_others_summaries", || {
            let _alone = monitor::exclusively()?;
            let dropwatch = Dropwatch::start()?;
            let finished = run(&["trace", "--source", "net-dm", "--duration", "1s"])?;
            ensure!(finished.status.code() == Some(1), "{finished:?}");
            said(&finished, &["another process runs the drop monitor in summary mode"])?;
            dropwatch.finish()
        }),
        trial_as_root("stop_by_another_process_is_noticed", stop_by_another_process_is_noticed),
        trial_as_root("state_of_a_killed_run_is_repaired", state_of_a_killed_run_is_repaired),
        trial_as_root("a_terminal_that_is_closed_stops_the_monitor", a_terminal_that_is_closed_stops_the_monitor),
        trial_as_root("state_of_a_killed_agent_is_repaired_on_request", state_of_a_killed_agent_is_repaired_on_request),
    ]
}

fn monitor_of_another_process_is_read_and_left_alone() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let dropwatch = Dropwatch::start()?;
    let storm = Storm::new()?;
    let droptrace = listen(&[])?;
    storm.send(1000)?;
    let finished = droptrace.finish()?;
    said(&finished, &["another process runs the drop monitor, in summary mode"])?;
    let stat = counted(&finished)?;
    ensure!(stat["sources"][0]["mode"] == "summary", "{}", stat["sources"]);
    ensure!(stat["drops"].as_array().is_some_and(|drops| !drops.is_empty()), "no drops are reported: {stat}");
    ensure!(monitor::state()? == Found::InUse(AlertMode::Summary), "the monitor of others does not run any more");
    dropwatch.finish()
}

/// droptrace starts the monitor again within two seconds, and reports the gap.
fn stop_by_another_process_is_noticed() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let storm = Storm::new()?;
    let droptrace = listen(&["--net-dm-mode", "packet"])?;
    monitor::stop_by_others()?;
    let promised = Deadline::after(Duration::from_secs(2));
    eventually("the drop monitor to run again", || Ok(monitor::state()? == Found::InUse(AlertMode::Packet)))?;
    ensure!(!promised.has_passed(), "it took {:?}", promised.elapsed());
    storm.send(1000)?;
    let finished = droptrace.finish()?;
    said(&finished, &["another process stopped the drop monitor: the monitor runs again"])?;
    let ledger = &counted(&finished)?["sources"][0]["ledger"];
    ensure!(ledger["interruptions"] == 1 && ledger["lost"].is_null(), "{ledger}");
    ensure!(ledger["drops"].as_u64() >= Some(storm.dropped()?), "later drops are not counted: {ledger}");
    ensure!(monitor::state()? == Found::Unused, "it is left on");
    Ok(())
}

fn state_of_a_killed_run_is_repaired() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let droptrace = listen(&["--net-dm-mode", "packet"])?;
    ensure!(fs::exists(NOTE)?, "no note of what was changed");
    droptrace.signal(Signal::KILL)?;
    let killed = droptrace.wait()?;
    ensure!(
        !killed.status.success() && monitor::state()? == (Found::Left { is_running: true }),
        "the monitor went off by itself"
    );
    let examined = run(&["doctor"])?;
    let is_known =
        ["that was killed left it changed", "doctor --repair"].iter().all(|words| examined.stdout.contains(words));
    ensure!(is_known, "doctor does not know whose it is: {examined:?}");
    let finished = run(&["stat", "--source", "net-dm", "--format", "json", "--duration", "300ms"])?;
    said(&finished, &["had left the kernel's drop monitor changed: restored"])?;
    ensure!(counted(&finished)?["sources"][0]["mode"] == "packet", "{}", finished.stdout);
    ensure!(monitor::state()? == Found::Unused && !fs::exists(NOTE)?, "it is not put right");
    Ok(())
}

/// The closed terminal has the same effect as Ctrl-C.
fn a_terminal_that_is_closed_stops_the_monitor() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let droptrace = listen(&["--net-dm-mode", "packet"])?;
    ensure!(monitor::state()? == Found::InUse(AlertMode::Packet), "the monitor does not run");
    droptrace.signal(Signal::HUP)?;
    let finished = droptrace.wait()?;
    ensure!(finished.status.success(), "{finished:?}");
    ensure!(monitor::state()? == Found::Unused && !fs::exists(NOTE)?, "the monitor is left on");
    Ok(())
}

/// The agent's service runs the repair once the agent has ended.
fn state_of_a_killed_agent_is_repaired_on_request() -> Result<()> {
    const REPAIR: [&str; 2] = ["doctor", "--repair"];
    let _alone = monitor::exclusively()?;
    let storm = Storm::new()?;
    let agent = Agent::start(&["--source", "net-dm"])?;
    storm.send(1000)?;
    let dropped = storm.dropped()?;
    eventually("the agent to count all drops", || {
        let scrape = agent.settled()?;
        scrape.check_sum()?;
        let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
        Ok(scrape.sum("droptrace_dropped_packets_total", &[("reason", reason)]) >= dropped)
    })?;
    ensure!(run(&REPAIR)?.status.code() == Some(1), "what an agent that runs has changed is no damage");
    agent.droptrace.signal(Signal::KILL)?;
    agent.droptrace.wait()?;
    ensure!(monitor::state()? == (Found::Left { is_running: true }), "the monitor went off by itself");
    let repaired = run(&REPAIR)?;
    ensure!(repaired.status.success() && repaired.stdout.starts_with("repaired: "), "{repaired:?}");
    ensure!(monitor::state()? == Found::Unused && !fs::exists(NOTE)?, "it is not put right");
    let unchanged = run(&REPAIR)?;
    ensure!(unchanged.status.success() && unchanged.stdout.starts_with("nothing to repair: "), "{unchanged:?}");
    Ok(())
}

fn robustness() -> Vec<Trial> {
    vec![
        trial_as_root("another_namespace_has_no_monitor", || {
            let _alone = monitor::exclusively()?;
            let host = Netns::new()?;
            let finished = host.run(|| run(&["stat", "--source", "net-dm", "--duration", "1s"]))?;
            ensure!(finished.status.code() == Some(1), "{finished:?}");
            said(&finished, &["family NET_DM: not registered here", "not the first network namespace"])?;
            counters_are_taken(&host.run(|| hidden_types(&SHORTLY))?)
        }),
        trial_as_root("without_the_right_to_listen", || {
            let _alone = monitor::exclusively()?;
            let finished = with_capability("net_admin", &["stat", "--source", "net-dm", "--duration", "1s"])?;
            ensure!(finished.status.code() == Some(1), "{finished:?}");
            said(&finished, &["may not receive the drop monitor's alerts", "CAP_SYS_ADMIN"])?;
            counters_are_taken(&with_capability("net_admin", &SHORTLY)?)
        }),
        trial_as_root("without_the_right_to_control", || {
            let _alone = monitor::exclusively()?;
            let finished = with_capability("sys_admin", &["stat", "--source", "net-dm", "--duration", "1s"])?;
            ensure!(finished.status.code() == Some(1), "{finished:?}");
            said(&finished, &["may not be controlled", "CAP_NET_ADMIN"])
        }),
        trial_as_root("without_btf_net_dm_is_used", without_btf_net_dm_is_used),
        trial_as_root("the_module_is_loaded_anew", the_module_is_loaded_anew),
        trial_as_root("without_the_module", without_the_module),
    ]
}

/// The next backend in the fallback order is used, with a warning that names the reason. (Capabilities alone never lead
/// here: on kernels that ask for `CAP_SYS_ADMIN` to receive the alerts, that capability includes `CAP_BPF`.)
fn without_btf_net_dm_is_used() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let finished = hidden_types(&SHORTLY)?;
    ensure!(counted(&finished)?["sources"][0]["source"] == "net_dm", "{}", finished.stdout);
    said(&finished, &["CONFIG_DEBUG_INFO_BTF", "droptrace uses net_dm packet instead, which loses"])
}

/// Runs droptrace where `/sys` has no types of the kernel.
fn hidden_types(arguments: &[&str]) -> Result<Finished> {
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(binary()?).args(arguments);
    Droptrace::spawn(piped(&mut command))?.wait()
}

/// The family's numbers change, and a subscriber of the old module does not receive alerts of the new one.
fn the_module_is_loaded_anew() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let mut droptrace = listen(&["--net-dm-mode", "packet"])?;
    // The module cannot be taken out while it monitors, which droptrace lets it do again soon.
    let mut removed = false;
    for _ in 0..ATTEMPTS {
        monitor::stop_by_others()?;
        removed = loads(&["-r", "drop_monitor"])?;
        if removed {
            break;
        }
    }
    ensure!(removed, Unable("drop_monitor is no module here, or is in use".to_owned()));
    loads(&["drop_monitor"])?;
    droptrace.await_said("module was loaded again")?;
    droptrace.signal(Signal::INT)?;
    let finished = droptrace.wait()?;
    said(&finished, &["module was loaded again", "start droptrace again"])?;
    ensure!(finished.status.code() == Some(1), "{finished:?}");
    let ledger = &counted(&finished)?["sources"][0]["ledger"];
    ensure!(ledger["lost"].is_null(), "what was lost meanwhile cannot be known: {ledger}");
    Ok(())
}

/// The same as on a kernel without the module.
fn without_the_module() -> Result<()> {
    let _alone = monitor::exclusively()?;
    ensure!(loads(&["-r", "drop_monitor"])?, Unable("drop_monitor is no module here, or is in use".to_owned()));
    let away = Away::put(&format!("/lib/modules/{}", tracer::run::host().kernel))?;
    let (forced, auto) = (run(&["stat", "--source", "net-dm", "--duration", "1s"]), hidden_types(&SHORTLY));
    drop(away);
    loads(&["drop_monitor"])?;
    let forced = forced?;
    ensure!(forced.status.code() == Some(1), "{forced:?}");
    said(&forced, &["family NET_DM: not registered here", "module"])?;
    counters_are_taken(&auto?)
}

/// The last backend in the fallback order is used, with a warning that names the reason.
fn counters_are_taken(finished: &Finished) -> Result<()> {
    ensure!(counted(finished)?["sources"][0]["source"] == "counters", "{}", finished.stdout);
    said(finished, &["net_dm packet and net_dm summary: ", "droptrace uses counters procfs instead, which loses"])
}

/// A folder under another name, until the end of its handle.
struct Away(String);

impl Away {
    fn put(path: &str) -> Result<Self> {
        fs::rename(path, format!("{path}.away")).with_context(|| format!("renaming {path}"))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let _ = fs::rename(format!("{}.away", self.0), &self.0);
    }
}

fn loads(arguments: &[&str]) -> Result<bool> {
    let mut modprobe = Command::new("modprobe");
    Ok(modprobe.args(arguments).stderr(Stdio::null()).status().context("starting modprobe")?.success())
}

fn listen(arguments: &[&str]) -> Result<Droptrace> {
    Droptrace::start(&[&["stat", "--source", "net-dm", "--format", "json"], arguments].concat())
}

fn run(arguments: &[&str]) -> Result<Finished> {
    let mut command = Command::new(binary()?);
    Droptrace::spawn(piped(command.args(arguments)))?.wait()
}

/// As the user nobody with only these capabilities.
fn with_capability(capabilities: &str, arguments: &[&str]) -> Result<Finished> {
    let wanted: Vec<_> = capabilities.split(',').map(|name| format!("+{name}")).collect();
    let mut command = Command::new("setpriv");
    let set = format!("-all,{}", wanted.join(","));
    for kind in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.arg(format!("{kind}={set}"));
    }
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary()?).args(arguments);
    Droptrace::spawn(piped(&mut command))?.wait()
}

fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

fn counted(finished: &Finished) -> Result<Value> {
    let last = finished.stdout.lines().last().with_context(|| format!("nothing counted: {}", finished.stderr))?;
    serde_json::from_str(last).with_context(|| format!("reading {last}"))
}

fn said(finished: &Finished, words: &[&str]) -> Result<()> {
    let missing = words.iter().find(|word| !finished.stderr.contains(*word));
    ensure!(missing.is_none(), "it does not say {missing:?}: {}", finished.stderr);
    ensure!(!finished.stderr.contains("panicked"), "it panics: {}", finished.stderr);
    Ok(())
}
