//! Makes a snapshot from the totals of a run.

use std::cmp::Reverse;

use serde_json::{from_value, to_value};

use droptrace_base::snapshot::{CaptureBackend, Interface, Overflow, Row, SCHEMA, Snapshot, Source, Unavailable};

use crate::domain::event::DropTotal;
use crate::domain::event::reason_name;
use crate::domain::report::{OverflowTotal, SourceReport, StatReport};
use crate::identity::devices::{self, Device};
use crate::packet::ProtocolName;
use crate::run::{CaptureBackend as Way, UnavailableBackends};
use crate::sink::Account;

/// Facts that a report does not contain.
#[derive(Clone, Debug)]
pub struct Facts<'f> {
    /// An identifier that distinguishes this machine from others with its name ([`super::machine`]).
    pub machine: Option<String>,
    /// The GNU build id of the kernel.
    pub build_id: Option<String>,
    /// Devices of the network namespace that droptrace runs in.
    pub devices: &'f [Device],
    /// Inode number of that namespace; 0 if it is unknown.
    pub own_netns: u32,
    /// The capture backend.
    pub backend: Way,
    /// Backends of a better rank that are not available.
    pub unavailable: &'f UnavailableBackends,
}

/// Makes the document.
///
/// # Errors
/// Fails if a sum of a ledger is beyond the numbers of JSON.
pub fn take(report: &StatReport, facts: &Facts<'_>) -> Result<Snapshot, serde_json::Error> {
    Ok(Snapshot {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: report.host.name.clone(),
        machine: facts.machine.clone(),
        kernel: report.host.kernel.clone(),
        build_id: facts.build_id.clone(),
        started_at: report.started_at,
        duration_ns: u64::try_from(report.duration.as_nanos()).unwrap_or(u64::MAX),
        interfaces: facts.devices.iter().map(interface).collect(),
        backend: CaptureBackend { source: facts.backend.source().to_owned(), mode: facts.backend.mode().to_owned() },
        unavailable: facts.unavailable.0.iter().map(unavailable).collect(),
        sources: report.sources.iter().map(source).collect::<Result<_, _>>()?,
        drops: rows(&report.drops, facts),
        overflow: report.overflow.iter().map(overflow).collect(),
    })
}

fn interface(device: &Device) -> Interface {
    let Device { name, class, driver, .. } = device.clone();
    Interface { name, class, driver }
}

fn unavailable(each: &crate::run::Unavailable) -> Unavailable {
    let (source, mode) = (each.backend.source().to_owned(), each.backend.mode().to_owned());
    Unavailable { source, mode, cause: each.cause.clone() }
}

fn overflow(total: &OverflowTotal) -> Overflow {
    let reason = total.reason.as_deref().filter(|reason| reason_name(reason).is_some());
    let (reason, subsystem) = reason.map(|told| (told.name.to_string(), told.subsystem.to_string())).unzip();
    Overflow { reason, subsystem, packets: total.packets, bytes: total.bytes }
}

/// The members are those of `droptrace.stat.v1`: a single definition has the fields of each ledger.
fn source(report: &SourceReport) -> Result<Source, serde_json::Error> {
    from_value(to_value(Account::from(report))?)
}

/// The rows with the most packets first. Aggregation keys that differ only in properties that a snapshot lacks are
/// merged.
fn rows(totals: &[DropTotal], facts: &Facts<'_>) -> Vec<Row> {
    let mut rows: Vec<_> = totals.iter().map(|total| row(total, facts)).collect();
    rows.sort_by(|one, other| place(one).cmp(&place(other)));
    rows.dedup_by(|next, kept| {
        let is_same = place(next) == place(kept);
        if is_same {
            add(kept, next);
        }
        is_same
    });
    rows.sort_by_key(|row| Reverse(row.packets));
    rows
}

/// The key by which rows are merged.
fn place(row: &Row) -> impl Ord + '_ {
    let Row { reason, subsystem, symbol, offset, module, trap_group, protocol, interface, class, netns_name, .. } = row;
    let where_and_why = (reason, subsystem, symbol, offset, module, trap_group);
    (where_and_why, protocol, interface, class, netns_name, row.own_netns, &row.kind)
}

fn add(row: &mut Row, other: &Row) {
    row.packets += other.packets;
    row.bytes = row.bytes.zip(other.bytes).map(|(one, other)| one + other);
    row.first_seen = row.first_seen.min(other.first_seen);
    row.last_seen = row.last_seen.max(other.last_seen);
}

fn row(total: &DropTotal, facts: &Facts<'_>) -> Row {
    let place = &*total.place;
    let reason = reason_name(&place.reason);
    let symbol = place.location.symbol.as_ref();
    let own_netns = (place.netns != 0 && facts.own_netns != 0).then_some(place.netns == facts.own_netns);
    Row {
        reason: reason.map(str::to_owned),
        subsystem: reason.map(|_| place.reason.subsystem.to_string()),
        symbol: symbol.map(|symbol| symbol.name.to_string()),
        offset: symbol.map(|symbol| symbol.offset),
        module: symbol.and_then(|symbol| Some(symbol.module.as_ref()?.to_string())),
        trap_group: place.location.trap_group.as_ref().map(ToString::to_string),
        protocol: (place.protocol != 0).then(|| ProtocolName(place.protocol).to_string()),
        interface: place.interface.as_ref().map(ToString::to_string),
        class: place
            .interface
            .as_ref()
            .and_then(|name| devices::class_of(facts.devices, name, place.ifindex, own_netns == Some(true))),
        netns_name: place.netns_name.as_ref().map(ToString::to_string),
        own_netns,
        netlink: place.is_netlink_message(),
        kind: place.kind.name().to_owned(),
        packets: total.packets,
        bytes: total.bytes,
        first_seen: total.first_seen,
        last_seen: total.last_seen,
    }
}
