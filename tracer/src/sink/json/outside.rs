//! The kernel's counters beside the backend.

use std::net::IpAddr;

use serde::Serialize;

use crate::domain::reconciliation::{CpuRise, ReconciledCounter, Reconciliation, RefusingListener};

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
    class: &'static str,
    netns: Option<u32>,
    netns_name: Option<&'r str>,
    ifindex: Option<u32>,
    interface: Option<&'r str>,
    rise: u64,
    explained: Option<u64>,
    undecided: Option<u64>,
    outside: Option<u64>,
    at_most_outside: Option<u64>,
    cpus: Vec<Cpu>,
    listeners: Vec<Listener<'r>>,
}

#[derive(Serialize)]
struct Cpu {
    cpu: u32,
    rise: u64,
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
        // Those with a part outside stand first, the greatest part first, then those that may have one.
        let explained = found.counters.iter().filter(|counter| counter.at_most_outside() == 0);
        let counters = found.outside().into_iter().chain(explained).map(Row::from);
        Self { namespaces: found.namespaces, counters: counters.collect(), gaps: &found.gaps }
    }
}

impl<'r> From<&'r ReconciledCounter> for Row<'r> {
    fn from(counter: &'r ReconciledCounter) -> Self {
        let compared = |packets| counter.is_compared.then_some(packets);
        Self {
            counter: &counter.name,
            class: counter.class,
            netns: Some(counter.netns).filter(|inum| *inum != 0),
            netns_name: counter.netns_name.as_deref(),
            ifindex: counter.interface.as_ref().map(|interface| interface.ifindex),
            interface: counter.interface.as_ref().and_then(|interface| interface.name.as_deref()),
            rise: counter.rise,
            explained: compared(counter.explained),
            undecided: compared(counter.undecided()),
            outside: compared(counter.outside),
            at_most_outside: compared(counter.at_most_outside()),
            cpus: counter.cpus.iter().map(|CpuRise { cpu, rise }| Cpu { cpu: *cpu, rise: *rise }).collect(),
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
