//! Compares the found faults with the planted ones.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Planted;

/// The findings in words: kind, reason where it matters, and host or group.
pub fn found(report: &Value) -> Result<BTreeSet<String>> {
    let findings = report["findings"].as_array().context("no findings")?;
    let mut found = BTreeSet::new();
    for finding in findings {
        let kind = finding["kind"].as_str().context("no kind")?;
        let reason = finding["reason"].as_str().unwrap_or("-");
        let hosts = finding["hosts"]["named"].as_array().context("no hosts")?;
        let hosts = hosts.iter().map(|host| host["name"].as_str().unwrap_or_default());
        match kind {
            "outlier" | "storm" => found.extend(hosts.map(|host| format!("{kind} {reason} {host}"))),
            "silent" | "loss" | "loss_unknown" | "unbalanced" => {
                found.extend(hosts.map(|host| format!("{kind} {host}")));
            }
            "group" => _ = found.insert(format!("{kind} {reason} {}", finding["group"].as_str().unwrap_or("-"))),
            _ => _ = found.insert(format!("{kind} {reason}")),
        }
    }
    Ok(found)
}

/// The quality of the findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Faults that were planted and found.
    pub hits: usize,
    /// Faults that were planted and not found.
    pub missed: BTreeSet<String>,
    /// Findings that were not planted.
    pub invented: BTreeSet<String>,
    /// Of faint outliers, by the power of ten of how many times the middle host's rate they drop: found, planted.
    pub faint: BTreeMap<u32, (usize, usize)>,
}

impl Verdict {
    /// Compares. A faint outlier may be found or not.
    pub fn of(found: &BTreeSet<String>, planted: &Planted) -> Self {
        let (all, faint) = (planted.all(), planted.faint());
        let mut verdict = Self {
            hits: all.intersection(found).count(),
            missed: all.difference(found).cloned().collect(),
            invented: found.difference(&all).filter(|it| !faint.contains_key(*it)).cloned().collect(),
            faint: (1..=3).map(|decade| (decade, (0, 0))).collect(),
        };
        for (name, factor) in &faint {
            let decade = [1e2, 1e3, 1e4].iter().filter(|&&bound| *factor >= bound).count() + 1;
            let entry = verdict.faint.entry(u32::try_from(decade).unwrap_or_default()).or_default();
            entry.0 += usize::from(found.contains(name));
            entry.1 += 1;
        }
        verdict
    }

    /// The share of findings that were planted.
    #[expect(clippy::cast_precision_loss, reason = "hosts of a fleet")]
    pub fn precision(&self) -> f64 {
        let right = self.hits + self.faint.values().map(|faint| faint.0).sum::<usize>();
        right as f64 / (right + self.invented.len()).max(1) as f64
    }

    /// The share of planted faults that were found, without faint ones.
    #[expect(clippy::cast_precision_loss, reason = "hosts of a fleet")]
    pub fn recall(&self) -> f64 {
        self.hits as f64 / (self.hits + self.missed.len()).max(1) as f64
    }
}
