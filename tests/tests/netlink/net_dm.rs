//! The drop monitor's family, against `net/core/drop_monitor.c`.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::kernel;
use tests::monitor;

use crate::{list, modules};

/// The commands by their number: `dropmon_ops`, the same from 5.4 to 7.3.
const COMMANDS: [(u32, &str, bool); 5] =
    [(2, "CONFIG", true), (3, "START", true), (4, "STOP", true), (6, "CONFIG_GET", false), (8, "STATS_GET", false)];

/// The attributes of requests: `net_dm_nl_policy`.
const ATTRIBUTES: [(u16, &str, &str); 5] = [
    (1, "ALERT_MODE", "u8"),
    (9, "TRUNC_LEN", "u32"),
    (11, "QUEUE_LEN", "u32"),
    (20, "SW_DROPS", "flag"),
    (21, "HW_DROPS", "flag"),
];

pub(crate) fn the_drop_monitor_as_in_its_source() -> Result<()> {
    let _monitor = monitor::exclusively()?;
    let _guard = modules::alone();
    let family = crate::json(&["family", "NET_DM"])?;
    ensure!(family["version"] == 2 && family["header_size"] == 0, "{family}");
    let groups: Vec<_> = list(&family, "groups")?.iter().map(|group| &group["name"]).collect();
    ensure!(groups == ["events"], "groups {groups:?}");
    operations(&family)?;
    policy(&family)
}

fn operations(family: &Value) -> Result<()> {
    let found: Vec<Value> = list(family, "operations")?.iter().map(without_policy).collect();
    let expected = COMMANDS.map(|(number, name, admin)| {
        json!({"number": number, "name": name, "do": true, "dump": false, "admin": admin, "namespace_admin": false,
               "has_policy": true})
    });
    ensure!(found == expected, "droptrace {found:#?}\nthe source {expected:#?}");
    Ok(())
}

/// An operation without the indices of its policies, by which nothing is known.
fn without_policy(operation: &Value) -> Value {
    let fields = operation.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !name.ends_with("_policy") || *name == "has_policy")
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

fn policy(family: &Value) -> Result<()> {
    let policies = list(family, "policies")?;
    let [policy] = &policies[..] else { anyhow::bail!("{} policies", policies.len()) };
    let attribute = |value: &Value| Some((value["number"].clone(), value["name"].clone(), value["type"].clone()));
    let found: Vec<_> = list(policy, "attributes")?.iter().filter_map(attribute).collect();
    let expected = ATTRIBUTES.map(|(number, name, kind)| (json!(number), json!(name), json!(kind)));
    ensure!(found == expected, "droptrace {found:?}\nthe source {expected:?}");
    // Its highest attribute is in the kernel's type information, where the module is built in or not.
    let reasons = kernel::reason("NOT_SPECIFIED").is_ok_and(|known| known != kernel::Known::NoReasons);
    let most = family["max_attribute"].as_u64().context("no highest attribute")?;
    ensure!(if reasons { most >= 23 } else { most == 22 }, "attributes up to {most}");
    Ok(())
}
