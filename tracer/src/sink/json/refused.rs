//! Refused SYNs in JSON: the member `refused_syns` of totals.

use std::net::IpAddr;

use serde::Serialize;

use crate::domain::refused::{RefusedReport, RefusedSyns as Row};

/// The member `refused_syns`.
#[derive(Serialize)]
pub(super) struct RefusedSyns<'r> {
    refused: u64,
    filtered: u64,
    without_room: u64,
    listeners: Vec<Listener<'r>>,
}

#[derive(Serialize)]
struct Listener<'r> {
    netns: u32,
    netns_name: Option<&'r str>,
    address: IpAddr,
    port: u16,
    pid: Option<u32>,
    process: Option<&'r str>,
    cgroup_id: Option<u64>,
    cgroup: Option<&'r str>,
    container: Option<&'r str>,
    pod: Option<&'r str>,
    unit: Option<&'r str>,
    cause: &'static str,
    packets: u64,
    sources: Vec<Source>,
    of_other_sources: u64,
}

#[derive(Serialize)]
struct Source {
    address: IpAddr,
    packets: u64,
}

impl<'r> From<&'r RefusedReport> for RefusedSyns<'r> {
    fn from(report: &'r RefusedReport) -> Self {
        let RefusedReport { ref rows, refused, filtered, without_room } = *report;
        Self { refused, filtered, without_room, listeners: rows.iter().map(Listener::from).collect() }
    }
}

impl<'r> From<&'r Row> for Listener<'r> {
    fn from(row: &'r Row) -> Self {
        let (process, owner) = (row.process.as_ref(), &row.owner);
        Self {
            netns: row.netns,
            netns_name: row.netns_name.as_deref(),
            address: row.listener.ip(),
            port: row.listener.port(),
            pid: process.map(|process| process.pid),
            process: process.and_then(|process| process.comm.as_deref()),
            cgroup_id: Some(row.cgroup_id).filter(|id| *id != 0),
            cgroup: owner.cgroup.as_deref(),
            container: owner.container.as_deref(),
            pod: owner.pod.as_deref(),
            unit: owner.unit.as_deref(),
            cause: row.refusal.name(),
            packets: row.packets,
            sources: row
                .sources
                .iter()
                .map(|(address, packets)| Source { address: *address, packets: *packets })
                .collect(),
            of_other_sources: row.of_other_sources(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::refused;

    #[test]
    fn refused_syns_are_a_member_of_totals() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&RefusedSyns::from(&refused())).unwrap());
    }
}
