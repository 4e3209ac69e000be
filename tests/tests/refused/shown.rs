//! What `stat` and `doctor` show of refused SYNs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::droptrace::{Stat, command};
use tests::trials::Unable;

const COUNTER: &str = "TcpExtListenDrops";

/// The state of the check in `doctor`, and why it is not good.
pub(super) fn check() -> Result<(String, String)> {
    let printed = command(&["doctor", "--format", "json"])?.output()?;
    let document: Value = serde_json::from_slice(&printed.stdout)?;
    let checks = document["checks"].as_array().context("no checks")?;
    let check = checks.iter().find(|check| check["name"] == "refused SYNs").context("no check")?;
    let text = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
    Ok((text("state"), format!("{}; {}", text("found"), text("advice"))))
}

pub(super) fn needed() -> Result<()> {
    let (state, why) = check()?;
    ensure!(state == "good", Unable(format!("refused SYNs are {why}")));
    Ok(())
}

/// What one socket refused for one cause.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) port: u64,
    pub(super) cause: String,
    pub(super) packets: u64,
    pub(super) pid: Option<u64>,
    pub(super) sources: BTreeMap<IpAddr, u64>,
    pub(super) of_others: u64,
}

impl Refused {
    fn parse(row: &Value) -> Result<Self> {
        let number = |value: &Value| value.as_u64().with_context(|| format!("no number in {row}"));
        let sources = row["sources"].as_array().context("no sources")?.iter();
        let sources =
            sources.map(|it| Ok((it["address"].as_str().context("no address")?.parse()?, number(&it["packets"])?)));
        Ok(Self {
            port: number(&row["port"])?,
            cause: row["cause"].as_str().context("no cause")?.to_owned(),
            packets: number(&row["packets"])?,
            pid: row["pid"].as_u64(),
            sources: sources.collect::<Result<_>>()?,
            of_others: number(&row["of_other_sources"])?,
        })
    }

    /// Those of a namespace; the sums of the whole must add up.
    pub(super) fn of(stat: &Stat, netns: u32) -> Result<Vec<Self>> {
        let found = &stat.0["refused_syns"];
        let rows = found["listeners"].as_array().context("no refused SYNs")?;
        let all: u64 = rows.iter().filter_map(|row| row["packets"].as_u64()).sum();
        let [refused, filtered, without_room] =
            ["refused", "filtered", "without_room"].map(|name| found[name].as_u64());
        ensure!(refused == Some(all + filtered.unwrap_or(0) + without_room.unwrap_or(0)), "{found}");
        let rows: Vec<_> = rows.iter().filter(|row| row["netns"] == netns).map(Self::parse).collect::<Result<_>>()?;
        for row in &rows {
            ensure!(row.packets == row.sources.values().sum::<u64>() + row.of_others, "{row:?}");
        }
        Ok(rows)
    }

    pub(super) fn only(stat: &Stat, netns: u32) -> Result<Self> {
        let mut rows = Self::of(stat, netns)?;
        ensure!(rows.len() == 1, "not one row: {rows:?}");
        rows.pop().context("no row")
    }
}

/// The counter of refusals in `stat`.
pub(super) fn counter(stat: &Stat, netns: u32) -> Result<&Value> {
    let counters = stat.0["outside"]["counters"].as_array().context("no counters")?;
    let is_it = |it: &&Value| it["netns"] == netns && it["counter"] == COUNTER;
    counters.iter().find(is_it).context("the counter did not rise")
}

/// Fails unless all of the counter's rise is refused SYNs, and nothing is outside.
pub(super) fn agrees(stat: &Stat, netns: u32, refused: u64) -> Result<()> {
    let counter = counter(stat, netns)?;
    let all = counter["rise"] == refused && counter["explained"] == refused && counter["at_most_outside"] == 0;
    ensure!(all, "{refused} were refused: {counter}");
    Ok(())
}
