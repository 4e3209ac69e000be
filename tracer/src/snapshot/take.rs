//! Makes a snapshot from the totals of a run.

use std::cmp::Reverse;

use serde::Serialize;
use serde::de::Error as _;
use serde_json::{Error, Value, from_value, to_value};

use droptrace_base::snapshot::{CaptureBackend, Interface, Overflow, Row, SCHEMA, Snapshot, Source, Unavailable};

use super::facts::Facts;
use super::outside::outside;
use crate::dimension::{Dimensions, Elsewhere, Members};
use crate::domain::attribution::Attribution;
use crate::domain::event::NamedKey;
use crate::domain::event::reason_name;
use crate::domain::report::{SourceReport, StatReport};
use crate::domain::total::{OverflowTotal, Total, group};
use crate::identity::devices::{self, Device};
use crate::render::time::TimeText;
use crate::sink::Account;

/// Makes the document.
///
/// # Errors
/// Fails if a sum of a ledger is beyond the numbers of JSON.
pub(crate) fn take(report: &StatReport, facts: &Facts<'_>) -> Result<Snapshot, Error> {
    Ok(Snapshot {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: report.host.name.clone(),
        machine: facts.machine.clone(),
        kernel: report.host.kernel.clone(),
        build_id: facts.build_id.clone(),
        started_at: report.started_at,
        duration_ns: u64::try_from(report.duration.as_nanos()).unwrap_or(u64::MAX),
        filter: facts.filter.map(|filter| filter.text.clone()),
        interfaces: facts.devices.iter().map(interface).collect(),
        backend: CaptureBackend { source: facts.backend.source().to_owned(), mode: facts.backend.mode().to_owned() },
        unavailable: facts.unavailable.0.iter().map(unavailable).collect(),
        sources: report.sources.iter().map(source).collect::<Result<_, _>>()?,
        drops: rows(report, facts)?,
        overflow: report.overflow.iter().map(overflow).collect(),
        outside: report.outside.as_ref().map(|found| outside(found, facts)),
    })
}

fn interface(device: &Device) -> Interface {
    let Device { name, class, driver, .. } = device.clone();
    Interface { name, class, driver }
}

fn unavailable(each: &crate::run::UnavailableBackend) -> Unavailable {
    let (source, mode) = (each.backend.source().to_owned(), each.backend.mode().to_owned());
    Unavailable { source, mode, cause: each.why.cause.clone() }
}

fn overflow(total: &OverflowTotal) -> Overflow {
    let reason = total.reason.as_deref().filter(|reason| reason_name(reason).is_some());
    let (reason, subsystem) =
        reason.map(|reported| (reported.name.to_string(), reported.subsystem.to_string())).unzip();
    Overflow { reason, subsystem, packets: total.packets, bytes: total.bytes }
}

/// The members are those of `droptrace.stat.v1`: a single definition has the fields of each ledger.
fn source(report: &SourceReport) -> Result<Source, Error> {
    from_value(to_value(Account::from(report))?)
}

/// Most packets first. Keys that differ only in facts of this host, such as addresses, become one row.
fn rows(report: &StatReport, facts: &Facts<'_>) -> Result<Vec<Row>, Error> {
    // The owners are unknown where the backend does not report them.
    let owners = facts.owners.filter(|_| report.attribution.is_some());
    // A key that cannot be written fails in `row`.
    let groups = group(&report.drops, |key| row_key(key, facts, owners).unwrap_or_default());
    let mut rows = groups.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|row| Reverse(row.packets));
    Ok(rows)
}

/// The members of a row that say which drops it counts.
#[derive(Serialize)]
struct RowKey<'k> {
    kind: &'static str,
    netlink: bool,
    #[serde(flatten)]
    dimensions: Members<'k>,
    owner: Option<OwnerKey<'k>>,
}

/// The members of [`droptrace_base::snapshot::RowOwner`] that were asked for.
#[derive(Serialize)]
struct OwnerKey<'k> {
    attribution: &'static str,
    #[serde(flatten)]
    dimensions: Members<'k>,
}

fn row_key(key: &NamedKey, facts: &Facts<'_>, owners: Option<&Dimensions>) -> Result<Value, Error> {
    let is_own_netns = (key.netns != 0 && facts.own_netns != 0).then_some(key.netns == facts.own_netns);
    let is_own = is_own_netns == Some(true);
    let class = key.interface.as_ref().and_then(|name| devices::class_of(facts.devices, name, key.ifindex, is_own));
    let elsewhere = Elsewhere { key, class: class.as_deref(), is_own_netns };
    let members = |by: &Dimensions| {
        let mut members = Members::default();
        by.iter().for_each(|dimension| dimension.snapshot(&elsewhere, &mut members));
        members
    };
    let attribution = Attribution::of(key).name();
    let owner = owners.map(|owners| OwnerKey { attribution, dimensions: members(owners) });
    let dimensions = members(&Dimensions::usual());
    to_value(RowKey { kind: key.kind.name(), netlink: key.is_netlink_message(), dimensions, owner })
}

fn row(total: Total<Value>) -> Result<Row, Error> {
    let Value::Object(mut members) = total.key else { return Err(Error::custom("a row is not an object")) };
    members.insert("packets".into(), total.packets.into());
    members.insert("bytes".into(), total.bytes.into());
    members.insert("first_seen".into(), to_value(TimeText::new(total.first_seen))?);
    members.insert("last_seen".into(), to_value(TimeText::new(total.last_seen))?);
    from_value(Value::Object(members))
}
