//! The report of a fleet: sums, most frequent drops, and findings. `droptrace.findings.v1` is its JSON form.

use std::collections::BTreeMap;
use std::ops::Range;

use droptrace_base::domain::event::Timestamp;
use droptrace_base::explain::{Explanations, Usual};
use droptrace_base::render::time::TimeText;
use serde::{Serialize, Serializer};

use super::analyse::outside::Losses;
use super::analyse::view::{ByHost, Cause, amounts, by_cause, per_host, sums, total};
use super::analyse::{Options, analyse};
use super::finding::Finding;
use super::model::{Fleet, Host};
use super::number::{self, Amount};

/// The name of the schema. Within a version it only grows.
pub(crate) const SCHEMA: &str = "droptrace.findings.v1";

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: &'static str,
    /// Version of the droptrace-fleet that made the report.
    pub(crate) version: &'static str,
    /// The input.
    pub(crate) input: Input,
    /// The thresholds of the findings.
    pub(crate) options: Options,
    /// The fleet.
    pub(crate) fleet: Sums,
    /// The fleet at the earlier time that it is compared with; `None` without a baseline.
    pub(crate) baseline: Option<Sums>,
    /// Reasons, those with the most packets first; netlink messages apart.
    pub(crate) dropped_most: Vec<Dropped>,
    /// Losses outside `kfree_skb` by the kernel's counters, the greatest first.
    pub(crate) outside: Vec<OutsideSum>,
    /// Hosts by rate of drops.
    pub(crate) rates: Vec<RateBand>,
    /// The findings, the gravest first.
    pub(crate) findings: Vec<Finding>,
}

/// The input of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// `snapshots`, `hosts` or `prometheus`.
    pub from: &'static str,
    /// Snapshots, or answers, that were read and added.
    pub read: usize,
    /// Files that could not be read, snapshots that were not added, or hosts that did not answer.
    pub refused: Vec<Refused>,
    /// Files in folders whose names are not those of snapshots.
    pub passed_over: usize,
    /// Snapshots of the baseline that were read and added.
    pub baseline_read: usize,
    /// Files of the baseline that could not be read, or were not added.
    pub baseline_refused: Vec<Refused>,
    /// Notes for the reader, in sentences.
    pub notes: Vec<String>,
}

impl Input {
    /// An input from which nothing has been read.
    pub const fn of(from: &'static str) -> Self {
        Self {
            from,
            read: 0,
            refused: Vec::new(),
            passed_over: 0,
            baseline_read: 0,
            baseline_refused: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// An input of files from which nothing has been read.
    pub(crate) const fn of_snapshots() -> Self {
        Self::of("snapshots")
    }
}

/// A file that could not be read, or was not added, or a host that did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The name of the file, or of the host.
    pub file: String,
    /// The cause.
    pub why: String,
}

/// Sums of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Sums {
    /// The start of the time span; `None` if it is unknown.
    #[serde(serialize_with = "moment")]
    pub(crate) from: Option<Timestamp>,
    /// The end of the time span.
    #[serde(serialize_with = "moment")]
    pub(crate) to: Option<Timestamp>,
    /// Hosts that reported.
    pub(crate) hosts: usize,
    /// Hosts that should have reported and did not.
    pub(crate) silent: usize,
    /// Sum of the time spans of all hosts.
    #[serde(serialize_with = "number::serialize")]
    pub(crate) host_seconds: f64,
    /// Drops, without netlink messages.
    pub(crate) packets: Amount,
    /// Drops in none of the counts, of the hosts that know the number.
    pub(crate) lost: Amount,
    /// Hosts that do not know the number.
    pub(crate) loss_unknown: usize,
    /// Freed buffers other than packets, as [`Fleet::not_packets`].
    pub(crate) not_packets: Option<Amount>,
    /// Whether neither sum was rounded.
    pub(crate) exact: bool,
}

/// Drops of a reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Dropped {
    /// The name of the reason; `None` for drops without one.
    pub(crate) reason: Option<String>,
    /// The reason's subsystem.
    pub(crate) subsystem: Option<String>,
    /// Whether the drops are messages to netlink sockets.
    pub(crate) netlink: bool,
    /// Whether the drops are beyond an exporter's limit of series.
    pub(crate) other: bool,
    /// The function with the most of these drops; `None` if it is unknown.
    pub(crate) symbol: Option<String>,
    /// Number of drops.
    pub(crate) packets: Amount,
    /// Share of all drops, in percent; `None` for netlink messages.
    pub(crate) percent: Option<f64>,
    /// Hosts with such drops.
    pub(crate) hosts: usize,
    /// Whether healthy hosts have such drops: `never`, `sometimes`, `often`; `None` if it is unknown.
    pub(crate) usual: Option<&'static str>,
    /// An explanation in one sentence.
    pub(crate) meaning: Option<String>,
}

/// Losses outside `kfree_skb` of all hosts, by one of the kernel's counters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OutsideSum {
    /// The name of the counter.
    pub(crate) counter: String,
    /// Packets that certainly were lost outside.
    pub(crate) packets: Amount,
    /// Hosts with such losses.
    pub(crate) hosts: usize,
    /// Hosts whose counters are known.
    pub(crate) of_hosts: usize,
}

/// Hosts with a rate of drops between two limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct RateBand {
    /// The least packets per second; `None` for hosts without drops.
    #[serde(serialize_with = "number::option")]
    pub(crate) from: Option<f64>,
    /// The upper limit, which is excluded.
    #[serde(serialize_with = "number::option")]
    pub(crate) to: Option<f64>,
    /// Number of hosts.
    pub(crate) hosts: usize,
}

impl Report {
    /// Makes the report of a fleet.
    pub(crate) fn of(fleet: &Fleet, input: Input, options: &Options) -> Self {
        let (causes, by_reason) = (by_cause(fleet), amounts(fleet));
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            input,
            options: options.clone(),
            fleet: Sums::of(fleet, &by_reason),
            baseline: fleet.baseline.as_deref().map(|fleet| Sums::of(fleet, &amounts(fleet))),
            dropped_most: dropped_most(fleet, &causes, &by_reason),
            outside: outside(fleet),
            rates: rates(fleet, &causes),
            findings: analyse(fleet, options),
        }
    }
}

type Causes<'f> = BTreeMap<Cause<'f>, ByHost>;
type Amounts<'f> = BTreeMap<Cause<'f>, Amount>;

impl Sums {
    fn of(fleet: &Fleet, amounts: &Amounts<'_>) -> Self {
        let hosts = || fleet.hosts().iter().filter(|host| host.silence.is_none());
        let time = |end: fn(&Range<Timestamp>) -> Timestamp| fleet.time.as_ref().map(end);
        let (packets, lost) = (packets(amounts), hosts().filter_map(|host| host.lost).sum::<Amount>());
        Self {
            from: time(|time| time.start),
            to: time(|time| time.end),
            hosts: hosts().count(),
            silent: fleet.hosts().len() - hosts().count(),
            host_seconds: hosts().map(|host| host.seconds).sum(),
            packets,
            lost,
            not_packets: fleet.not_packets,
            exact: packets.is_exact() && lost.is_exact(),
            loss_unknown: hosts().filter(|host| host.lost.is_none()).count(),
        }
    }
}

/// The sum without netlink messages.
fn packets(amounts: &Amounts<'_>) -> Amount {
    amounts.iter().filter(|(cause, _)| !cause.netlink).map(|(_, packets)| *packets).sum()
}

fn dropped_most(fleet: &Fleet, causes: &Causes<'_>, amounts: &Amounts<'_>) -> Vec<Dropped> {
    let explanations = Explanations::built_in().ok();
    let symbols = foremost_symbols(fleet);
    let all = packets(amounts).float();
    let dropped = |(cause, row): (&Cause<'_>, &Vec<_>)| {
        let packets = amounts.get(cause).copied().unwrap_or_default();
        let known = explanations.as_ref().and_then(|known| cause.explanation(known)).map(|(_, it)| it);
        Dropped {
            reason: cause.reason.map(str::to_owned),
            subsystem: cause.subsystem.map(str::to_owned),
            netlink: cause.netlink,
            other: cause.other,
            symbol: symbols.get(cause).map(|&symbol| symbol.to_owned()),
            packets,
            percent: (!cause.netlink).then_some(100.0 * packets.float() / all),
            hosts: row.len(),
            usual: known.and_then(|it| it.usual).map(Usual::name),
            meaning: known.map(|it| it.meaning.clone()),
        }
    };
    let mut rows: Vec<_> = causes.iter().map(dropped).collect();
    // The sort is stable: equal rows stay in the order of names.
    rows.sort_by(|one, other| {
        one.netlink.cmp(&other.netlink).then(other.packets.float().total_cmp(&one.packets.float()))
    });
    rows
}

fn outside(fleet: &Fleet) -> Vec<OutsideSum> {
    let losses = Losses::of(fleet);
    let sum = |counter: &str| {
        let of_host = |host: &Host| host.outside.as_ref()?.get(counter).copied();
        fleet.hosts().iter().filter_map(of_host).sum()
    };
    let row = |(counter, row): (&&str, &ByHost)| OutsideSum {
        counter: (*counter).to_owned(),
        packets: sum(counter),
        hosts: row.len(),
        of_hosts: losses.known,
    };
    let mut rows: Vec<_> = losses.by_counter.iter().map(row).collect();
    rows.sort_by(|one, other| other.packets.float().total_cmp(&one.packets.float()));
    rows
}

/// The function with the most drops of each reason.
fn foremost_symbols(fleet: &Fleet) -> BTreeMap<Cause<'_>, &str> {
    let mut most = BTreeMap::new();
    for ((cause, symbol), row) in sums(fleet, |key| Some((Cause::of(key), key.symbol?))) {
        let packets = total(&row);
        let entry = most.entry(cause).or_insert((packets, symbol));
        if packets > entry.0 {
            *entry = (packets, symbol);
        }
    }
    most.into_iter().map(|(cause, (_, symbol))| (cause, symbol)).collect()
}

/// Each power of ten is a band.
fn rates(fleet: &Fleet, causes: &Causes<'_>) -> Vec<RateBand> {
    let packets = per_host(causes);
    let (mut none, mut bands) = (0, BTreeMap::<i32, usize>::new());
    for (id, host) in fleet.ids().zip(fleet.hosts()).filter(|(_, host)| host.seconds > 0.0) {
        match packets.get(&id).and_then(|packets| decade(host, *packets)) {
            Some(decade) => *bands.entry(decade).or_default() += 1,
            None => none += 1,
        }
    }
    let ends = bands.keys().next().copied().zip(bands.keys().next_back().copied());
    let decades = ends.into_iter().flat_map(|(first, last)| first..=last);
    let band = |decade| RateBand {
        from: Some(10_f64.powi(decade)),
        to: Some(10_f64.powi(decade + 1)),
        hosts: bands.get(&decade).copied().unwrap_or_default(),
    };
    let quiet = (none > 0).then_some(RateBand { from: None, to: None, hosts: none });
    quiet.into_iter().chain(decades.map(band)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a logarithm of a finite number")]
fn decade(host: &Host, packets: f64) -> Option<i32> {
    let rate = packets / host.seconds;
    (rate.is_finite() && rate > 0.0).then(|| rate.log10().floor() as i32)
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn moment<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(TimeText::new).serialize(serializer)
}
