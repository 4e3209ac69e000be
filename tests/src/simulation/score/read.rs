//! Reads findings: a report of droptrace-fleet, or JSON lines of any detector.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;

/// Reads a report with the list `findings`, or lines with a finding each. A finding has `kind`, `reason` and
/// `group`, which are texts; its hosts are `host`, a text, `hosts`, a list of texts, or `hosts.named`, a list of
/// objects with `name`. Only a finding of the kind `group` is about its group: others say by it with which hosts theirs were
/// compared. `score` is the dotted path of its score.
///
/// # Errors
/// Names the file that cannot be read, or that is not JSON of such a form.
pub fn read_findings(path: &Path, score: &str) -> Result<Vec<Finding>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let documents: Vec<Value> = serde_json::Deserializer::from_str(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not JSON", path.display()))?;
    let findings = match documents.as_slice() {
        [report] if report.get("findings").is_some() => {
            report["findings"].as_array().with_context(|| format!("`findings` of {} is no list", path.display()))?
        }
        lines => lines,
    };
    let read =
        |(at, finding)| finding_of(finding, score).with_context(|| format!("finding {} of {}", at + 1, path.display()));
    findings.iter().enumerate().map(read).collect()
}

fn finding_of(finding: &Value, score: &str) -> Result<Finding> {
    let text = |name: &str| finding[name].as_str().map(str::to_owned);
    Ok(Finding {
        kind: text("kind").context("has no `kind`: each finding has the name of its kind")?,
        reason: text("reason"),
        hosts: text("host").map_or_else(|| hosts(&finding["hosts"]), |host| Ok(vec![host]))?,
        group: text("group").filter(|_| finding["kind"] == "group"),
        score: score.split('.').fold(finding, |value, name| &value[name]).as_f64(),
    })
}

fn hosts(hosts: &Value) -> Result<Vec<String>> {
    let named = if hosts.is_object() { &hosts["named"] } else { hosts };
    let Some(named) = named.as_array() else { return Ok(Vec::new()) };
    let name = |host: &Value| host.as_str().or_else(|| host["name"].as_str()).map(str::to_owned);
    named.iter().map(|host| name(host).context("names a host that is neither a text nor has a `name`")).collect()
}
