//! Parses the ledgers of the sources in a recording's last line.

use serde::Deserialize;
use serde_json::{Value, from_value};

use super::refused::Refused;
use crate::domain::ledger::Ledger;
use crate::domain::ledger::wire::{Ebpf, NetDm};
use crate::domain::report::SourceReport;

/// Values of `mode`.
const MODES: [&str; 4] = ["tp_btf", "raw_tracepoint", "packet", "summary"];

#[derive(Deserialize)]
struct Line {
    sources: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    source: String,
    mode: String,
    ledger: Value,
}

/// Reads the last line.
pub(super) fn parse(line: &[u8]) -> Result<Vec<SourceReport>, Refused> {
    let Line { sources } = serde_json::from_slice(line)?;
    sources.into_iter().map(report).collect()
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
