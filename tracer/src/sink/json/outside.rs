//! The kernel's counters beside the backend.

use std::net::IpAddr;

use serde::Serialize;

use crate::domain::reconciliation::{ReconciledCounter, Reconciliation, RefusingListener};

/// The member `outside`.
#[derive(Serialize)]
pub(super) struct Outside<'r> {
    namespaces: u32,
    counters: Vec<Row<'r>>,
    gaps: &'r [String],
}

#[derive(Serialize)]
struct Row<'r> {
    counter: &'r str,
    netns: u32,
    netns_name: Option<&'r str>,
    rise: u64,
    explained: u64,
    undecided: u64,
    outside: u64,
    listeners: Vec<Listener<'r>>,
}

#[derive(Serialize)]
struct Listener<'r> {
    address: IpAddr,
    port: u16,
    drops: u64,
    pid: Option<u32>,
    process: Option<&'r str>,
}

impl<'r> From<&'r Reconciliation> for Outside<'r> {
    fn from(found: &'r Reconciliation) -> Self {
        // Those with a part outside stand first, the greatest part first.
        let explained = found.counters.iter().filter(|counter| counter.outside == 0);
        let counters = found.outside().into_iter().chain(explained).map(Row::from);
        Self { namespaces: found.namespaces, counters: counters.collect(), gaps: &found.gaps }
    }
}

impl<'r> From<&'r ReconciledCounter> for Row<'r> {
    fn from(counter: &'r ReconciledCounter) -> Self {
        Self {
            counter: &counter.name,
            netns: counter.netns,
            netns_name: counter.netns_name.as_deref(),
            rise: counter.rise,
            explained: counter.explained,
            undecided: counter.undecided(),
            outside: counter.outside,
            listeners: counter.listeners.iter().map(Listener::from).collect(),
        }
    }
}

impl<'r> From<&'r RefusingListener> for Listener<'r> {
    fn from(listener: &'r RefusingListener) -> Self {
        let process = listener.process.as_ref();
        Self {
            address: listener.address.ip(),
            port: listener.address.port(),
            drops: listener.drops,
            pid: process.map(|process| process.pid),
            process: process.and_then(|process| process.comm.as_deref()),
        }
    }
}
