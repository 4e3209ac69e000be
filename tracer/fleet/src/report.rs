//! What is told of a fleet: sums, what is dropped most, and what was found. `droptrace.findings.v1` is this as JSON.

use std::collections::BTreeMap;
use std::ops::Range;

use droptrace_base::domain::event::Timestamp;
use droptrace_base::explain::Explanations;
use droptrace_base::render::time::TimeText;
use serde::{Serialize, Serializer};

use super::analyse::view::{ByHost, Cause, amounts, by_cause, per_host, sums, total};
use super::analyse::{Options, analyse};
use super::finding::Finding;
use super::model::{Fleet, Host};
use super::number::{self, Amount};

/// The name of the form. Within a version it only grows.
pub(crate) const SCHEMA: &str = "droptrace.findings.v1";

/// All that is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: &'static str,
    /// Version of the droptrace that made it.
    pub(crate) version: &'static str,
    /// Where it comes from.
    pub(crate) input: Input,
    /// What the findings depend on.
    pub(crate) options: Options,
    /// The fleet.
    pub(crate) fleet: Sums,
    /// What it is compared with; none: with nothing.
    pub(crate) baseline: Option<Sums>,
    /// Reasons, most packets first; netlink's messages apart.
    pub(crate) dropped_most: Vec<Dropped>,
    /// Hosts by rate of drops.
    pub(crate) rates: Vec<RateBand>,
    /// What was found, the gravest first.
    pub(crate) findings: Vec<Finding>,
}

/// Where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// `snapshots` or `prometheus`.
    pub from: &'static str,
    /// Snapshots, or answers, that were read and added.
    pub read: usize,
    /// What could not be read, or was not added.
    pub refused: Vec<Refused>,
    /// Files in folders whose names are not those of snapshots.
    pub passed_over: usize,
    /// The same of the baseline.
    pub baseline_read: usize,
    /// The same of the baseline.
    pub baseline_refused: Vec<Refused>,
    /// What else the reader should know, in sentences.
    pub notes: Vec<String>,
}

impl Input {
    /// Of nothing yet.
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

    /// Of files, nothing yet.
    pub const fn of_snapshots() -> Self {
        Self::of("snapshots")
    }
}

/// What could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its name.
    pub file: String,
    /// Why.
    pub why: String,
}

/// Sums of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Sums {
    /// The first time that is told of; none: not known.
    #[serde(serialize_with = "moment")]
    pub(crate) from: Option<Timestamp>,
    /// The last one.
    #[serde(serialize_with = "moment")]
    pub(crate) to: Option<Timestamp>,
    /// Hosts that told something.
    pub(crate) hosts: usize,
    /// Hosts that should have told something and did not.
    pub(crate) silent: usize,
    /// Time that they told of, all together.
    #[serde(serialize_with = "number::serialize")]
    pub(crate) host_seconds: f64,
    /// Drops, without netlink's messages.
    pub(crate) packets: Amount,
    /// Drops in none of the counts, of the hosts that know it.
    pub(crate) lost: Amount,
    /// Hosts that do not.
    pub(crate) loss_unknown: usize,
    /// What was freed beside packets, as [`Fleet::not_packets`].
    pub(crate) not_packets: Option<Amount>,
    /// Neither sum was rounded.
    pub(crate) exact: bool,
}

/// Drops of a reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Dropped {
    /// Its name; none: drops without one.
    pub(crate) reason: Option<String>,
    /// Subsystem that the reason is of.
    pub(crate) subsystem: Option<String>,
    /// Messages to a netlink listener.
    pub(crate) netlink: bool,
    /// Drops beyond an exporter's bound on series.
    pub(crate) other: bool,
    /// The function with most of them; none: not known.
    pub(crate) symbol: Option<String>,
    /// Drops.
    pub(crate) packets: Amount,
    /// Of all drops, in percent; none of netlink's messages.
    pub(crate) percent: Option<f64>,
    /// Hosts with such drops.
    pub(crate) hosts: usize,
    /// Whether healthy hosts show such drops: `never`, `sometimes`, `often`; none: not known.
    pub(crate) usual: Option<&'static str>,
    /// What happened to the packets, in a sentence.
    pub(crate) meaning: Option<String>,
}

/// Hosts that drop between two rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct RateBand {
    /// At least so many packets a second; none: no drops at all.
    #[serde(serialize_with = "number::option")]
    pub(crate) from: Option<f64>,
    /// Below so many.
    #[serde(serialize_with = "number::option")]
    pub(crate) to: Option<f64>,
    /// So many hosts.
    pub(crate) hosts: usize,
}

impl Report {
    /// Looks at a fleet.
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

/// Without netlink's messages.
fn packets(amounts: &Amounts<'_>) -> Amount {
    amounts.iter().filter(|(cause, _)| !cause.netlink).map(|(_, packets)| *packets).sum()
}

fn dropped_most(fleet: &Fleet, causes: &Causes<'_>, amounts: &Amounts<'_>) -> Vec<Dropped> {
    let explanations = Explanations::built_in().ok();
    let places = foremost_symbols(fleet);
    let all = packets(amounts).float();
    let dropped = |(cause, row): (&Cause<'_>, &Vec<_>)| {
        let packets = amounts.get(cause).copied().unwrap_or_default();
        let known = explanations.as_ref().and_then(|known| cause.explanation(known)).map(|(_, it)| it);
        Dropped {
            reason: cause.reason.map(str::to_owned),
            subsystem: cause.subsystem.map(str::to_owned),
            netlink: cause.netlink,
            other: cause.other,
            symbol: places.get(cause).map(|&symbol| symbol.to_owned()),
            packets,
            percent: (!cause.netlink).then_some(100.0 * packets.float() / all),
            hosts: row.len(),
            usual: known.map(|it| it.usual.name()),
            meaning: known.map(|it| it.meaning.clone()),
        }
    };
    let mut rows: Vec<_> = causes.iter().map(dropped).collect();
    // Stable: what is equal stays in the order of names.
    rows.sort_by(|one, other| {
        one.netlink.cmp(&other.netlink).then(other.packets.float().total_cmp(&one.packets.float()))
    });
    rows
}

/// The function with most drops of each reason.
fn foremost_symbols(fleet: &Fleet) -> BTreeMap<Cause<'_>, &str> {
    let mut most = BTreeMap::new();
    for ((cause, symbol), row) in sums(fleet, |place| Some((Cause::of(place), place.symbol?))) {
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
