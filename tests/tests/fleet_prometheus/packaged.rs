//! Rules and dashboard, as they are handed to users.

use std::path::Path;

use anyhow::Result;
use tests::prometheus::promtool;

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).to_string_lossy().into_owned()
}

pub(crate) fn rules_are_valid() -> Result<()> {
    let rules = ["alerts", "recording"].map(|name| file(&format!("packaging/prometheus/{name}.rules.yml")));
    promtool(&["check", "rules", &rules[0], &rules[1]]).map(drop)
}

pub(crate) fn alerts_come_when_they_should() -> Result<()> {
    promtool(&["test", "rules", &file("tests/rules/alerts.test.yml")]).map(drop)
}
