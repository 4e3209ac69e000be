//! Parses the ledgers of the sources in a recording's last line.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, from_value};

use super::refused::Refused;
use crate::backend::MODES;
use crate::domain::ledger::Ledger;
use crate::domain::ledger::wire::{Ebpf, NetDm};
use crate::domain::report::SourceReport;

/// The end of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The ledgers of its sources.
    pub(crate) sources: Vec<SourceReport>,
    /// Duration of the run that was recorded; absent in recordings of earlier versions.
    pub(crate) duration: Option<Duration>,
}

#[derive(Deserialize)]
struct Line {
    sources: Vec<Account>,
    /// Absent in recordings of earlier versions.
    duration_ns: Option<u64>,
}

#[derive(Deserialize)]
struct Account {
    source: String,
    mode: String,
    ledger: Value,
}

/// Reads the last line.
pub(super) fn parse(line: &[u8]) -> Result<End, Refused> {
    let Line { sources, duration_ns } = serde_json::from_slice(line)?;
    let sources = sources.into_iter().map(report).collect::<Result<_, _>>()?;
    Ok(End { sources, duration: duration_ns.map(Duration::from_nanos) })
}

fn report(account: Account) -> Result<SourceReport, Refused> {
    let mode = MODES.into_iter().find(|mode| *mode == account.mode).ok_or(Refused::Field("an unknown `mode`"))?;
    let ledger = match account.source.as_str() {
        "ebpf" => Ledger::Ebpf(from_value::<Ebpf>(account.ledger)?.into()),
        "net_dm" => Ledger::NetDm(from_value::<NetDm>(account.ledger)?.into()),
        _ => return Err(Refused::Field("`source` is neither ebpf nor net_dm")),
    };
    Ok(SourceReport { mode, ledger, held_back: vec![] })
}
