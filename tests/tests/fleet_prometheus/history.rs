//! Histories of agents that are restarted, die, come late and are not scraped for a while, written into Prometheus' own
//! storage. The test compares the result of `diagnose` with them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use droptrace_fleet::model::{Fleet, Key};
use droptrace_fleet::prometheus::{Access, Engine, Limits, Question, Scope, gather};
use tests::folder::Folder;
use tests::prometheus::{Server, VictoriaMetrics, promtool};

/// Seconds between two scrapes of an agent.
const SCRAPE: u64 = 15;
/// The time that is looked at begins here, and the baseline at 0.
const RANGE: u64 = 7_200;
/// It ends here.
const END: u64 = 10_800;
/// Seconds for which an engine shows a series after its last sample.
const LOOKBACK: u64 = 300;
/// What the times above are added to, in seconds since the Unix epoch.
const EPOCH: u64 = 1_700_000_000;

/// A process: when it began, and when it ended.
type Process = (u64, u64);

/// What happened to an agent.
struct Story {
    name: &'static str,
    processes: Vec<Process>,
    /// Times at which the engine could not scrape the agent.
    socket_drops: Vec<(u64, u64)>,
}

fn stories() -> Vec<Story> {
    let story = |name, processes: &[Process], socket_drops: &[(u64, u64)]| Story {
        name,
        processes: processes.to_vec(),
        socket_drops: socket_drops.to_vec(),
    };
    let ever = u64::MAX;
    vec![
        story("steady", &[(0, ever)], &[]),
        story("older than all", &[(0, ever)], &[(0, 900)]),
        story("new in the range", &[(RANGE + 1_000, ever)], &[]),
        story("new in the baseline", &[(4_000, ever)], &[]),
        story("restarted in the range", &[(0, RANGE + 1_500), (RANGE + 1_502, ever)], &[]),
        story("restarted slowly", &[(0, RANGE + 900), (RANGE + 2_700, ever)], &[]),
        story(
            "restarted again and again",
            &[(0, 2_000), (2_000, RANGE + 600), (RANGE + 600, RANGE + 1_800), (RANGE + 1_800, ever)],
            &[],
        ),
        story("dead in the range", &[(0, RANGE + 2_000)], &[]),
        story("born and dead in the range", &[(RANGE + 600, RANGE + 2_000)], &[]),
        story("dead in the baseline", &[(0, 5_000)], &[]),
        story("restarted and dead", &[(0, RANGE + 500), (RANGE + 900, RANGE + 2_500)], &[]),
        story("not scraped for a while", &[(0, ever)], &[(RANGE + 1_000, RANGE + 2_200)]),
        story(
            "not scraped when it was restarted",
            &[(0, RANGE + 1_600), (RANGE + 1_650, ever)],
            &[(RANGE + 1_000, RANGE + 2_200)],
        ),
        story("not scraped between baseline and range", &[(0, ever)], &[(RANGE - 700, RANGE + 700)]),
        story("scraped late", &[(0, ever)], &[(0, RANGE + 1_200)]),
        story("never scraped in the range", &[(0, ever)], &[(RANGE - 100, ever)]),
    ]
}

impl Story {
    /// The process that the engine scraped at this time.
    fn scraped(&self, at: u64) -> Option<Process> {
        let is_scraped =
            at.is_multiple_of(SCRAPE) && !self.socket_drops.iter().any(|&(from, to)| (from..to).contains(&at));
        self.processes.iter().copied().find(|&(from, to)| is_scraped && (from..to).contains(&at))
    }

    /// Time of the last scrape within the range, and its process.
    fn last(&self, within: std::ops::RangeInclusive<u64>) -> Option<(u64, Process)> {
        within.rev().find_map(|at| Some((at, self.scraped(at)?)))
    }

    /// The growth that an engine can know, after `begin` and until `end`: for each process, its value at its last
    /// scrape, less its value in the beginning.
    fn growth(&self, key: u64, begin: u64, end: u64) -> u64 {
        let before = self.last(begin.saturating_sub(LOOKBACK - 1)..=begin).map(|(_, process)| process);
        let of = |process: &Process| {
            let scraped = |at: &u64| self.scraped(*at) == Some(*process);
            let last = (begin + 1..=end).rev().find(scraped)?;
            let from = if before == Some(*process) {
                (0..=begin).rev().find(scraped)
            } else {
                (process.0 < begin).then(|| (begin + 1..=end).find(scraped)).flatten()
            };
            let state = |at| state(process.0, key, at);
            Some(state(last) - from.map_or(0, state))
        };
        self.processes.iter().filter_map(of).sum()
    }
}

/// The count of a process that began at `start` at a key until `now`. The higher the key, the later it is first
/// seen; a process that began later counts faster, so that its counter soon exceeds its predecessor's.
fn state(start: u64, key: u64, now: u64) -> u64 {
    let seen = (now - start) / 10;
    let first = key * 40;
    if seen <= first { 0 } else { 3 + (seen - first) * (key + 1) * (1 + start / 100) }
}

const KEYS: u64 = 4;

/// Agents whose series of a namespace expire and begin anew.
const EXPIRING: [&str; 2] = ["steady", "dead in the range"];

/// When a series of that namespace begins, when it rises for the last time, and when it expires: before the range, across
/// its beginning, and within it.
const SPANS: [(u64, u64, u64); 3] =
    [(1_000, 1_500, 2_100), (RANGE - 300, RANGE + 300, RANGE + 900), (RANGE + 1_500, RANGE + 2_400, RANGE + 3_000)];

/// What the series of that namespace stands at, if there is one, and the one of all that expired.
fn expiring(now: u64) -> (Option<u64>, Option<u64>) {
    let state = |(begin, rises, _): &(u64, u64, u64)| 1 + (now.min(*rises) - begin) / SCRAPE;
    let live = SPANS.iter().find(|(begin, _, end)| (*begin..*end).contains(&now)).map(state);
    let expired: Vec<_> = SPANS.iter().filter(|(_, _, end)| *end <= now).map(state).collect();
    (live, (!expired.is_empty()).then(|| expired.iter().sum()))
}

/// All that was dropped there.
fn dropped_there(now: u64) -> u64 {
    let (live, expired) = expiring(now);
    live.unwrap_or(0) + expired.unwrap_or(0)
}

/// Freed buffers of one kind that are not packets.
const OTHERS: u64 = 9;

/// Storm rate in drops a second: the rate of the least key of the first process.
const STORM: f64 = 0.1;

/// All of it as text that Prometheus takes into its storage.
fn written(stories: &[Story]) -> Result<String> {
    let mut text = "# TYPE droptrace_start_time_seconds gauge\n".to_owned();
    for story in stories {
        for at in (0..=END).step_by(usize::try_from(SCRAPE)?) {
            if let Some((start, _)) = story.scraped(at) {
                let (start, at, name) = (start + EPOCH, at + EPOCH, story.name);
                writeln!(text, "droptrace_start_time_seconds{{job=\"d\",instance=\"{name}\"}} {start}.25 {at}")?;
            }
        }
    }
    text.push_str("# TYPE droptrace_dropped_packets counter\n");
    for story in stories {
        for key in 0..KEYS {
            for at in (0..=END).step_by(usize::try_from(SCRAPE)?) {
                let Some((start, _)) = story.scraped(at) else { continue };
                let (value, name) = (state(start, key, at), story.name);
                if value > 0 {
                    // Some agents report the offset, others do not.
                    let offset = if start % 20 == 0 { ",offset=\"0x10\"" } else { "" };
                    let labels = format!("job=\"d\",instance=\"{name}\",reason=\"R{key}\",netns=\"own\"{offset}");
                    writeln!(text, "droptrace_dropped_packets_total{{{labels}}} {value} {}", at + EPOCH)?;
                }
            }
        }
    }
    written_as_it_expires(&mut text, stories)?;
    facts(&mut text)?;
    text.push_str("# EOF\n");
    Ok(text)
}

fn written_as_it_expires(text: &mut String, stories: &[Story]) -> Result<()> {
    for story in stories.iter().filter(|story| EXPIRING.contains(&story.name)) {
        for (labels, is_expired) in
            [("reason=\"P\",netns=\"pod\"", false), ("reason=\"expired\",netns=\"expired\"", true)]
        {
            for at in (0..=END).step_by(usize::try_from(SCRAPE)?).filter(|at| story.scraped(*at).is_some()) {
                let (live, expired) = expiring(at);
                if let Some(value) = if is_expired { expired } else { live } {
                    let labels = format!("job=\"d\",instance=\"{}\",{labels}", story.name);
                    writeln!(text, "droptrace_dropped_packets_total{{{labels}}} {value} {}", at + EPOCH)?;
                }
            }
        }
    }
    Ok(())
}

/// Further metrics of some agents at the end.
fn facts(text: &mut String) -> Result<()> {
    let mut write_sample = |metric: &str, host: &str, labels: &str, at: u64, value: u64| {
        let (kind, family) = metric.strip_suffix("_total").map_or(("gauge", metric), |family| ("counter", family));
        if !text.contains(&format!("# TYPE {family} ")) {
            writeln!(text, "# TYPE {family} {kind}")?;
        }
        writeln!(text, "{metric}{{job=\"d\",instance=\"{host}\"{labels}}} {value} {}", at + EPOCH)
    };
    let all: u64 = (0..KEYS).map(|key| state(0, key, END)).sum();
    // The ledger counts freed buffers that are not packets as well.
    write_sample("droptrace_not_packets_total", "steady", ",kind=\"unix\"", END, OTHERS)?;
    write_sample("droptrace_not_packets_total", "steady", ",kind=\"copy\"", END, OTHERS)?;
    for (at, lost) in [(RANGE, 5), (END, 12)] {
        write_sample("droptrace_ledger_drops_total", "steady", ",backend=\"ebpf\",account=\"lost\"", at, lost)?;
    }
    write_sample(
        "droptrace_ledger_drops_total",
        "steady",
        ",backend=\"ebpf\",account=\"accounted\"",
        END,
        all + dropped_there(END) + 2 * OTHERS,
    )?;
    write_sample(
        "droptrace_ledger_drops_total",
        "scraped late",
        ",backend=\"ebpf\",account=\"accounted\"",
        END,
        all - 1,
    )?;
    write_sample("droptrace_loss_unknown", "older than all", ",backend=\"net_dm\"", END, 1)?;
    write_sample("droptrace_host_info", "steady", ",kernel=\"6.18\",kernel_build_id=\"abc\",rack=\"7\"", END, 1)?;
    write_sample("droptrace_backend_info", "steady", ",backend=\"ebpf\",mode=\"tp_btf\"", END, 1)?;
    write_sample("droptrace_last_read_timestamp_seconds", "new in the baseline", "", END, EPOCH + END - 400)?;
    Ok(())
}

pub(crate) fn growth_is_exact_whatever_happens_to_agents() -> Result<()> {
    let (folder, stories) = (Folder::new("prometheus")?, stories());
    let text = folder.write("history", written(&stories)?)?;
    promtool(&["tsdb", "create-blocks-from", "openmetrics", &text, &folder.path("data")])?;
    let server = Server::start(&folder, "", &[], |command: &mut Command| Ok(command.spawn()?))?;
    check(&server.url(), &stories)
}

pub(crate) fn victoria_metrics_gives_the_same_results() -> Result<()> {
    let stories = stories();
    let engine = VictoriaMetrics::start()?;
    // It takes milliseconds.
    let text = written(&stories)?;
    let lines = text.lines().map(|line| if line.starts_with('#') { String::new() } else { format!("{line}000\n") });
    engine.import(&lines.collect::<String>())?;
    check(&engine.url, &stories)
}

fn check(url: &str, stories: &[Story]) -> Result<()> {
    let limits = Limits { time: Duration::from_mins(1), bytes: 1 << 30 };
    let engine = Engine::new(url, &Access::default(), limits)?;
    let scope = Scope::new(&["job".to_owned(), "instance".to_owned()], &[])?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let question = Question {
        at: Some((EPOCH + END) as f64),
        range: Duration::from_secs(END - RANGE),
        baseline: Duration::from_secs(RANGE),
        storm_rate: STORM,
    };
    let fleet = gather(&engine, &scope, &question)?.fleet;
    let baseline = fleet.baseline.as_deref().context("no baseline")?;
    let mut wrong = String::new();
    for story in stories {
        for key in 0..KEYS {
            for (window, fleet, begin, end) in [("range", &fleet, RANGE, END), ("baseline", baseline, 0, RANGE)] {
                let (expected, reported) = (story.growth(key, begin, end), reported(fleet, story.name, key));
                if expected != reported {
                    writeln!(wrong, "{} R{key} {window}: {reported} instead of {expected}", story.name)?;
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    what_expires_is_in_the_sum(&fleet, baseline, stories)?;
    facts_are_reported(&fleet)?;
    storms_are_no_higher_than_they_were(&fleet, stories)?;
    silence_is_reported(&fleet)
}

/// All drops of the host are reported once, though not all at their key.
fn what_expires_is_in_the_sum(fleet: &Fleet, baseline: &Fleet, stories: &[Story]) -> Result<()> {
    for story in stories.iter().filter(|story| EXPIRING.contains(&story.name)) {
        for (fleet, begin, end) in [(fleet, RANGE, END), (baseline, 0, RANGE)] {
            let (last, _) = story.last(begin..=end).context("not scraped")?;
            let expected = dropped_there(last) - dropped_there(begin);
            let at_its_key = reported_at(fleet, story.name, |key| key.reason == Some("P"));
            let reported = at_its_key + reported_at(fleet, story.name, |key| key.other);
            ensure!(reported == expected && at_its_key > 0, "{}: {reported} instead of {expected}", story.name);
            let host = fleet.find(story.name).context("no host")?;
            ensure!(host.unbalanced == 0, "{host:?}");
        }
    }
    Ok(())
}

fn facts_are_reported(fleet: &Fleet) -> Result<()> {
    let host = |name| fleet.find(name).with_context(|| format!("no {name}"));
    let steady = host("steady")?;
    ensure!(steady.lost == Some(7_u64.into()) && host("older than all")?.lost.is_none(), "{steady:?}");
    ensure!(steady.unbalanced == 0 && host("scraped late")?.unbalanced == 1, "{steady:?}");
    ensure!(steady.kernel.as_deref() == Some("6.18") && steady.backend.as_deref() == Some("ebpf/tp_btf"), "{steady:?}");
    ensure!(steady.labels["rack"] == "7" && steady.labels["build_id"] == "abc", "{steady:?}");
    Ok(())
}

/// Neither a restart nor a gap looks like a storm.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn storms_are_no_higher_than_they_were(fleet: &Fleet, stories: &[Story]) -> Result<()> {
    ensure!(!fleet.bursts.is_empty(), "no bursts");
    for burst in &fleet.bursts {
        let name = &fleet.hosts()[burst.host.0 as usize].name;
        let reason = fleet.resolve(burst.key).reason.unwrap_or("");
        let story = stories.iter().find(|story| story.name == name).context("an unknown host")?;
        let key: u64 = reason.trim_start_matches('R').parse().context("an unknown key")?;
        let minutes = story.processes.iter().flat_map(|&(start, _)| {
            (start..END)
                .step_by(10)
                .map(move |at| state(start, key, at) - state(start, key, at.saturating_sub(60).max(start)))
        });
        let highest = minutes.max().unwrap_or(0) as f64 / 60.0;
        ensure!(burst.rate <= highest + 1e-9, "{name} {reason}: {} a second, where {highest} were", burst.rate);
    }
    let steady = fleet.bursts.iter().filter(|burst| fleet.hosts()[burst.host.0 as usize].name == "steady");
    let mut rates: Vec<_> = steady.map(|burst| (burst.rate * 60.0).round()).collect();
    rates.sort_by(f64::total_cmp);
    // Six times a minute, one more at each key.
    ensure!(rates == [6.0, 12.0, 18.0, 24.0], "{rates:?}");
    Ok(())
}

/// The drops of a host that `diagnose` reports.
fn reported(fleet: &Fleet, host: &str, key: u64) -> u64 {
    let reason = format!("R{key}");
    reported_at(fleet, host, |key| key.reason == Some(reason.as_str()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers, or the test fails")]
fn reported_at(fleet: &Fleet, host: &str, is_meant: impl Fn(Key<'_>) -> bool) -> u64 {
    let is_it = |count: &&droptrace_fleet::model::Count| {
        fleet.hosts()[count.host.0 as usize].name == host && is_meant(fleet.resolve(count.key))
    };
    fleet.counts().iter().filter(is_it).map(|count| count.packets.float() as u64).sum()
}

fn silence_is_reported(fleet: &Fleet) -> Result<()> {
    let silent = fleet.hosts().iter().filter_map(|host| Some((host.name.as_str(), host.silence.as_ref()?.seconds)));
    let silent: BTreeMap<_, _> = silent.collect();
    let expected = [
        ("born and dead in the range", 1_605.0),
        ("dead in the baseline", 5_805.0),
        ("dead in the range", 1_605.0),
        ("never scraped in the range", 3_705.0),
        ("new in the baseline", 400.0),
        ("restarted and dead", 1_110.0),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(name, seconds)| (name, Some(seconds))).into();
    ensure!(silent == expected, "{silent:?}");
    Ok(())
}
