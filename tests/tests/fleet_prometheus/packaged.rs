//! Rules and dashboard, as they are delivered to users, and the documents that name their metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::agent::Agent;
use tests::folder::Folder;
use tests::prometheus::promtool;

const RULES: [&str; 2] = ["packaging/prometheus/alerts.rules.yml", "packaging/prometheus/recording.rules.yml"];
const DASHBOARD: &str = "packaging/grafana/droptrace.json";
const DOCUMENT: &str = "docs/guide/fleet.md";

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).to_string_lossy().into_owned()
}

fn text(name: &str) -> Result<String> {
    fs::read_to_string(file(name)).with_context(|| format!("reading {name}"))
}

pub(crate) fn rules_are_valid() -> Result<()> {
    let [alerts, recording] = RULES.map(file);
    promtool(&["check", "rules", &alerts, &recording]).map(drop)
}

pub(crate) fn alerts_come_when_they_should() -> Result<()> {
    promtool(&["test", "rules", &file("tests/rules/alerts.test.yml")]).map(drop)
}

pub(crate) fn queries_of_the_dashboard_are_valid() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
    ensure!(queries.len() >= panels.len(), "only {} queries in {} panels", queries.len(), panels.len());
    for query in queries {
        // As Grafana does.
        let filled = query.replace("$__rate_interval", "5m").replace("$__range", "1h");
        promtool(&["--experimental", "promql", "format", &filled])?;
    }
    Ok(())
}

/// A change of a metric's name must change all these files.
pub(crate) fn metrics_are_those_of_the_agent() -> Result<()> {
    let folder = Folder::new("packaged")?;
    let agent = Agent::start(&["--netns", "self", "--history", &folder.path("history")])?;
    let scrape = agent.settled()?;
    agent.finish()?;
    let reported: BTreeSet<_> = scrape.0.iter().map(|sample| sample.name.as_str()).collect();
    for name in RULES.into_iter().chain([DASHBOARD, DOCUMENT]) {
        let text = text(name)?;
        let named: Vec<_> = metrics(&text).collect();
        ensure!(!named.is_empty(), "{name} names no metric");
        let unknown: Vec<_> = named.into_iter().filter(|metric| !reported.contains(metric)).collect();
        ensure!(unknown.is_empty(), "{name} names {unknown:?}, which the agent does not export");
    }
    Ok(())
}

/// Words that are metrics of an agent. A colon is in the names of rules alone.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    words.map(|word| word.trim_matches(':')).filter(|word| {
        let is_metric = word.starts_with("droptrace_") || word.starts_with("process_");
        is_metric && !word.contains(':')
    })
}
