//! Prometheus scrapes eight agents: it shows the provoked drops, and `diagnose` names the hosts that stand out.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::kernel;
use tests::storm::REASON;

use crate::scene::Scene;

/// Datagrams that each host drops at a time, and the one that stands out.
const USUAL: u64 = 20;
const FAR_MORE: u64 = 20_000;
/// Datagrams of the new reason.
const NEW: u64 = 1_000;
/// The hosts, and those that something happens to.
const HOSTS: usize = 8;
const RESTARTED: usize = 2;
const OUTLIER: usize = 3;
const NEWCOMER: usize = 5;
const SILENT: usize = 7;

/// Drops of each host: because of a full buffer, and because of a missing listener.
type Dropped = [[u64; 2]; HOSTS];

pub(crate) fn diagnose_names_who_stands_out() -> Result<()> {
    kernel::reason(REASON)?;
    kernel::reason("NO_SOCKET")?;
    let mut scene = Scene::new(HOSTS)?;
    let begin = scene.moment()?;
    provoke(&scene, 0..HOSTS)?;
    shows_what_was_dropped(&scene, 0)?;
    let (before, earlier) = (scene.moment()?, dropped(&scene)?);

    // Drops that an agent reported before it was killed count as well.
    scene.hosts[RESTARTED].overflow(USUAL / 2)?;
    shows_what_was_dropped(&scene, 0)?;
    let (forgotten, killed) = (scene.hosts[RESTARTED].dropped()?[0], scene.now()?);
    scene.hosts[RESTARTED].kill_agent()?;
    scene.hosts[RESTARTED].start_agent()?;
    let restarting = scene.now()? + 2 - killed;
    scene.hosts[SILENT].kill_agent()?;
    scene.hosts[RESTARTED].overflow(USUAL / 2)?;
    provoke(&scene, (0..SILENT).filter(|host| *host != RESTARTED))?;
    scene.hosts[NEWCOMER].miss(NEW)?;
    let silent = scene.hosts[SILENT].name();
    scene.until("the silent one's target to be down", |scene| {
        Ok(scene.ask(&format!("up{{instance=\"{silent}\"}} == 0"))?.contains("=> 0"))
    })?;
    shows_what_was_dropped(&scene, forgotten)?;
    // Of an agent that took most of the time to start, the rate would be far above that of others: then hosts differ by so
    // much that no one of them stands out for sure.
    scene.until("a range in which the restart was short", |scene| Ok(scene.now()? >= before + 3 * restarting))?;
    let report = diagnose(&scene, begin, before, scene.moment()?)?;
    names_them(&scene, &report)?;
    sums_are_exact(&report, earlier, dropped(&scene)?)
}

fn provoke(scene: &Scene, hosts: impl IntoIterator<Item = usize>) -> Result<()> {
    hosts.into_iter().try_for_each(|host| {
        // The first ones find room.
        scene.hosts[host].overflow(if host == OUTLIER { FAR_MORE } else { USUAL })
    })
}

fn dropped(scene: &Scene) -> Result<Dropped> {
    let mut dropped = [[0; 2]; HOSTS];
    for (dropped, host) in dropped.iter_mut().zip(&scene.hosts) {
        *dropped = host.dropped()?;
    }
    Ok(dropped)
}

/// Waits until Prometheus shows the kernels' counts, less the counts of an agent that is gone. It shows no samples of a
/// silent agent.
fn shows_what_was_dropped(scene: &Scene, forgotten: u64) -> Result<()> {
    for (number, [overflowed, missed]) in dropped(scene)?.into_iter().enumerate() {
        let host = &scene.hosts[number];
        let forgotten = if number == RESTARTED { forgotten } else { 0 };
        let expected = if host.has_agent() { [overflowed - forgotten, missed] } else { [0, 0] };
        scene.until(&format!("{expected:?} drops of {}", host.name()), |scene| {
            let shown = [scene.shown(host, REASON)?, scene.shown(host, "NO_SOCKET")?];
            ensure!(shown[0] <= overflowed && shown[1] <= missed, "{shown:?} of {overflowed} and {missed}");
            Ok(shown == expected)
        })?;
    }
    Ok(())
}

/// The report on the time from `before` to `at`, compared with the one since `begin`.
fn diagnose(scene: &Scene, begin: u64, before: u64, at: u64) -> Result<Value> {
    let (range, baseline) = (format!("{}s", at - before), format!("{}s", before - begin));
    let at = at.to_string();
    let url = scene.url();
    let words = ["diagnose", "--prometheus", &url, "--at", &at, "--range", &range, "--baseline", &baseline];
    // So many drops at once make the host stand out, and are no storm.
    let output = scene.fleet(&[&words[..], &["--format", "json", "--storm-rate", "1e9"]].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(3), "{}: {said}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn names_them(scene: &Scene, report: &Value) -> Result<()> {
    let findings = report["findings"].as_array().context("no findings")?;
    let found = findings.iter().map(found).collect::<Result<BTreeSet<_>>>()?;
    let expected = [("new_reason", "NO_SOCKET", NEWCOMER), ("outlier", REASON, OUTLIER), ("silent", "", SILENT)];
    let named = expected.map(|(kind, reason, host)| (kind.to_owned(), reason.to_owned(), scene.hosts[host].name()));
    ensure!(found == named.into(), "{found:?}");
    Ok(())
}

/// Kind of the finding, its reason, and the hosts that it names.
fn found(finding: &Value) -> Result<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let named = finding["hosts"]["named"].as_array().context("no hosts")?;
    let all = named.iter().map(|host| text(&host["name"])).collect::<Vec<_>>().join(" ");
    Ok((text(&finding["kind"]), text(&finding["reason"]), all))
}

/// The range has all drops within it, even those of the host whose agent was restarted.
fn sums_are_exact(report: &Value, earlier: Dropped, later: Dropped) -> Result<()> {
    let most = report["dropped_most"].as_array().context("no sums")?;
    for (which, reason) in [REASON, "NO_SOCKET"].into_iter().enumerate() {
        let grown = earlier.iter().zip(&later).map(|(earlier, later)| later[which] - earlier[which]);
        let expected: u64 = grown.sum();
        let row = most.iter().find(|row| row["reason"] == reason).with_context(|| format!("no {reason}"))?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let is_exact = row["packets"].as_f64() == Some(expected as f64);
        ensure!(expected > 0 && is_exact, "{row} instead of {expected}");
    }
    Ok(())
}
