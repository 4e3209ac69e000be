//! Losses outside `kfree_skb` in the metrics of the agent, which lasts, and in snapshots.

use anyhow::{Context, Result, ensure};
use droptrace_base::snapshot::{Snapshot, read};
use libtest_mimic::Trial;
use tests::agent::{Agent, Scrape};
use tests::busy::Busy;
use tests::droptrace::Droptrace;
use tests::eventually;
use tests::trials::trial_as_root;

use super::{REFUSED_NAME, SYNS, refuse, segments_in_time_wait};

const METRIC: &str = "droptrace_outside_kfree_skb_total";

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("agent_counts_losses_outside", agent_counts_losses_outside),
        trial_as_root(
            "agent_counts_losses_beside_drops_without_a_reason",
            agent_counts_losses_beside_drops_without_a_reason,
        ),
        trial_as_root("agent_bounds_series_of_losses_outside", agent_bounds_series_of_losses_outside),
        trial_as_root("agent_without_counters_has_no_such_metric", agent_without_counters_has_no_such_metric),
        trial_as_root("snapshot_has_losses_outside", snapshot_has_losses_outside),
    ]
}

/// The refused connections that the agent counts with these labels.
fn counted(scrape: &Scrape, labels: &[(&str, &str)]) -> u64 {
    scrape.sum(METRIC, labels)
}

/// Waits until the agent counts so many refused connections with these labels.
fn await_count(agent: &Agent, labels: &[(&str, &str)], expected: u64) -> Result<()> {
    eventually(&format!("that the agent counts {expected} with {labels:?}"), || {
        let counted = counted(&agent.scrape()?, labels);
        ensure!(counted <= expected, "the agent counts {counted}, the kernel {expected}");
        Ok(counted == expected)
    })
}

fn agent_counts_losses_outside() -> Result<()> {
    let busy = Busy::new()?;
    let netns = busy.netns();
    let (agent, of_all) = (Agent::start(&["--netns", &netns])?, Agent::start(&["--expire-after", "1s"])?);
    let labels = [("counter", REFUSED_NAME), ("netns", &*netns), ("interface_class", "")];
    let mut refused = 0;
    for _ in 0..2 {
        refused += refuse(&busy.wire)?;
        await_count(&agent, &labels, refused)?;
    }
    let scrape = agent.scrape()?;
    ensure!(counted(&scrape, &[]) == refused, "other losses are counted: {scrape:?}");
    scrape.check_sum()?;
    // Of all namespaces, the series of this one expires, and its count stays in the sum. Other tests may lose packets, too.
    eventually("that the count moves to the series for what expired", || {
        Ok(counted(&of_all.scrape()?, &[("counter", "expired"), ("netns", "expired")]) >= refused)
    })?;
    drop(busy);
    ensure!(counted(&agent.settled()?, &[]) == refused, "the namespace is gone, and so is its count");
    agent.finish()?;
    of_all.finish()?;
    Ok(())
}

/// Drops that may be those that the counter counts hide losses of their own time only.
fn agent_counts_losses_beside_drops_without_a_reason() -> Result<()> {
    let busy = Busy::new()?;
    let agent = Agent::start(&["--netns", &busy.netns()])?;
    segments_in_time_wait(&busy.wire, SYNS + 5)?;
    // The counter rises for the first time, among these drops.
    refuse(&busy.wire)?;
    let labels = [("counter", REFUSED_NAME)];
    let mut last = 0;
    let mut all = u64::from(SYNS);
    eventually("that losses are counted", || {
        all += refuse(&busy.wire)?;
        let now = counted(&agent.settled()?, &labels);
        ensure!((last..=all).contains(&now), "{now} after {last}, and the kernel counts {all}");
        last = now;
        Ok(now >= 2 * u64::from(SYNS))
    })?;
    agent.finish()?;
    Ok(())
}

fn agent_bounds_series_of_losses_outside() -> Result<()> {
    let busy = Busy::new()?;
    let agent = Agent::start(&["--netns", &busy.netns(), "--max-series", "1"])?;
    let refused = refuse(&busy.wire)?;
    await_count(&agent, &[("counter", "other"), ("netns", "other"), ("interface_class", "other")], refused)?;
    let series = agent.scrape()?.of(METRIC, &[]).count();
    ensure!(series == 1, "{series} series");
    agent.finish()?;
    Ok(())
}

fn agent_without_counters_has_no_such_metric() -> Result<()> {
    let busy = Busy::new()?;
    let agent = Agent::start(&["--netns", &busy.netns(), "--no-counters"])?;
    refuse(&busy.wire)?;
    let scrape = agent.settled()?;
    ensure!(scrape.of(METRIC, &[]).next().is_none(), "{scrape:?}");
    agent.finish()?;
    Ok(())
}

fn snapshot_has_losses_outside() -> Result<()> {
    let busy = Busy::new()?;
    let taken = |options: &[&str]| -> Result<(Snapshot, u64)> {
        let droptrace = Droptrace::start(&[&["snapshot", "--duration", "10m"], options].concat())?;
        let refused = refuse(&busy.wire)?;
        Ok((read(droptrace.finish()?.stdout.as_bytes())?, refused))
    };
    let (snapshot, refused) = taken(&[])?;
    let outside = snapshot.outside.context("the counters are not in it")?;
    ensure!(outside.namespaces > 1, "{outside:?}");
    // Namespaces of other tests, which have no name either, are in the same row.
    let is_ours = |row: &&droptrace_base::snapshot::OutsideCounter| {
        row.counter == REFUSED_NAME && row.netns_name.is_none() && row.own_netns == Some(false)
    };
    let row = outside.counters.iter().find(is_ours).context("no row of the refused connections")?;
    ensure!(row.outside >= Some(refused) && row.at_most_outside >= row.outside, "{row:?}, not {refused}");
    let (without, _) = taken(&["--no-counters"])?;
    ensure!(without.outside.is_none(), "{:?}", without.outside);
    Ok(())
}
