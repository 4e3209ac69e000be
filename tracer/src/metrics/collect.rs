//! The agent's state: the counts so far, as metrics.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::label_set::{LabelSet, Labels};
use super::labels::{CountKey, Surroundings};
use super::ledger::Accounts;
use super::model::{Family, Kind, Metrics, Sample, Value};
use super::outside::OutsideAccounts;
use super::owners::OwnerAccounts;
use super::process;
use super::series::{Bounds, Series, Sum};
use crate::domain::attribution::Attribution;
use crate::domain::event::Timestamp;
use crate::domain::identity::Identity;
use crate::domain::report::{Host, SourceReport, StatReport};
use crate::domain::total::DropTotal;
use crate::run::{CaptureBackend, Session, UnavailableBackends};

/// Facts about a run that are known from its start.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The host.
    pub(crate) host: Host,
    /// An identifier that distinguishes this machine from others with its name ([`crate::snapshot::machine`]).
    pub(crate) machine: Option<String>,
    /// The GNU build id of the kernel.
    pub(crate) build_id: Option<String>,
    /// Inode number of the network namespace that droptrace runs in; 0 if it is unknown.
    pub(crate) own_netns: u32,
    /// Backends of a better rank, and the reasons why they are not available.
    pub(crate) unavailable: UnavailableBackends,
    /// Start of the process.
    pub(crate) started_at: Timestamp,
}

/// The work of the agent apart from capturing drops.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Readings of the totals.
    pub(crate) reads: u64,
    /// Readings that failed.
    pub(crate) failed_reads: u64,
    /// Duration of the last reading.
    pub(crate) read_duration: Duration,
    /// Time of the last successful reading.
    pub(crate) last_read: Timestamp,
    /// Duration of the last encoding of the metrics.
    pub(crate) encode_duration: Duration,
}

/// Settings of the series of drops.
#[derive(Clone, Debug)]
pub(crate) struct SeriesSettings {
    /// The limits of the number and the age of series.
    pub(crate) series: Bounds,
    /// The labels of series.
    pub(crate) label_set: LabelSet,
}

/// Accumulates counts over readings.
#[derive(Debug)]
pub(crate) struct Collector {
    facts: Facts,
    surroundings: Surroundings,
    series: Series<CountKey>,
    accounts: Accounts,
    owners: OwnerAccounts,
    outside: OutsideAccounts,
    /// The capture backend, and the name and mode of each of its parts.
    backend: Option<CaptureBackend>,
    sources: Vec<(&'static str, &'static str)>,
    not_packets: NotPackets,
}

impl Collector {
    /// A collector without any counts.
    pub(crate) fn new(facts: Facts, settings: SeriesSettings) -> Self {
        let series = Series::new(settings.series, settings.label_set.names());
        Self {
            surroundings: Surroundings::new(facts.own_netns, settings.label_set),
            facts,
            series,
            accounts: Accounts::default(),
            owners: OwnerAccounts::default(),
            outside: OutsideAccounts::new(settings.series),
            backend: None,
            sources: vec![],
            not_packets: NotPackets::default(),
        }
    }

    /// Reads the totals, and returns them.
    pub(crate) fn read(&mut self, session: &mut Session) -> anyhow::Result<StatReport> {
        let report = session.stat_report()?;
        self.take(&report, session.backend(), Instant::now());
        Ok(report)
    }

    /// Adds the counts of a run from its start until `now`, and the capture backend.
    fn take(&mut self, report: &StatReport, backend: CaptureBackend, now: Instant) {
        let Self { surroundings, series, .. } = self;
        surroundings.knows_owners = report.attribution.is_some();
        let mut reading = series.reading(now);
        self.not_packets.take(&report.drops);
        for total in most_first(&report.drops) {
            let sum = Sum { packets: total.packets, bytes: total.bytes };
            let key = CountKey::Known(Identity::from(&*total.key));
            let has_all_names = Attribution::of(&total.key) != Attribution::Unknown;
            reading.add(key, sum, has_all_names, || surroundings.labels(&total.key));
        }
        for total in &report.overflow {
            let sum = Sum { packets: total.packets, bytes: total.bytes };
            let key = CountKey::Overflow(total.reason.clone());
            reading.add(key, sum, true, || surroundings.overflow_labels(total.reason.as_ref()));
        }
        reading.finish();
        self.accounts.take(&report.sources);
        self.owners.take(report.attribution);
        self.outside.take(report.outside.as_ref(), now, &mut self.surroundings);
        self.backend = Some(backend);
        self.sources =
            report.sources.iter().map(|SourceReport { mode, ledger, .. }| (ledger.source(), *mode)).collect();
    }

    /// All metrics.
    pub(crate) fn metrics(&self, work: &Work) -> Metrics {
        let families = self.drops().into_iter().chain(self.accounts.families()).chain(self.owners.family());
        let families =
            families.chain(self.not_packets.family()).chain(self.backends()).chain(self.facts()).chain(self.bound());
        let families = families
            .chain(self.outside.families())
            .chain(of_work(work))
            .chain(process::families(self.facts.started_at));
        Metrics { families: families.collect() }
    }

    fn drops(&self) -> [Family; 2] {
        let sample = |labels: &Labels, count| Sample {
            labels: self.surroundings.label_set.names().zip(labels.iter().cloned()).collect(),
            value: Value::Count(count),
        };
        let bytes = self.series.iter().filter_map(|(labels, sum)| Some(sample(labels, sum.bytes?)));
        [
            Family {
                name: "droptrace_dropped_packets",
                help: "Packets that the kernel dropped",
                unit: None,
                kind: Kind::Counter,
                samples: self.series.iter().map(|(labels, sum)| sample(labels, sum.packets)).collect(),
            },
            Family {
                name: "droptrace_dropped",
                help: "Bytes of packets that the kernel dropped, from the MAC header if it is set",
                unit: Some("bytes"),
                kind: Kind::Counter,
                samples: bytes.collect(),
            },
        ]
    }

    /// The capture backend, and the backends that are not available.
    fn backends(&self) -> impl Iterator<Item = Family> {
        let rank =
            self.backend.and_then(|backend| CaptureBackend::FALLBACK_ORDER.iter().position(|each| *each == backend));
        let refused = self.facts.unavailable.0.iter().map(|each| {
            let cause = each.why.cause.lines().next().unwrap_or_default();
            let (source, mode) = (each.backend.source(), each.backend.mode());
            Sample::new([("backend", source), ("mode", mode), ("cause", cause)], 1_u64)
        });
        let sources =
            self.sources.iter().map(|(source, mode)| Sample::new([("backend", source), ("mode", mode)], 1_u64));
        let families = [
            info("droptrace_backend", "The capture backend, and its mode", sources.collect()),
            Family {
                name: "droptrace_backend_rank",
                help: "Rank of the capture backend in use: 1 for the best, more for those that report less",
                unit: None,
                kind: Kind::Gauge,
                samples: rank.map(|rank| Sample::new([], rank as u64 + 1)).into_iter().collect(),
            },
            info(
                "droptrace_backend_unavailable",
                "A better capture backend, and why it is not available",
                refused.collect(),
            ),
        ];
        families.into_iter().filter(|family| !family.samples.is_empty())
    }

    fn facts(&self) -> [Family; 2] {
        let Facts { host, machine, build_id, .. } = &self.facts;
        let [machine, build_id] = [machine, build_id].map(|text| text.as_deref().unwrap_or_default());
        let (name, kernel) = (&*host.name, &*host.kernel);
        let host = [("host", name), ("machine", machine), ("kernel", kernel), ("kernel_build_id", build_id)];
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        [
            info("droptrace_host", "The host and its kernel", vec![Sample::new(host, 1_u64)]),
            info("droptrace_build", "This droptrace", vec![Sample::new(build, 1_u64)]),
        ]
    }

    /// The use of the limit of series.
    fn bound(&self) -> [Family; 2] {
        let count = |count: usize| vec![Sample::new([], count as u64)];
        [
            gauge(
                "droptrace_series",
                "Series of drops, including those for all other and for all expired series",
                None,
                count(self.series.count()),
            ),
            gauge("droptrace_series_limit", "Limit of the series of drops", None, count(self.series.limit())),
        ]
    }
}

/// Freed buffers that pass the tracepoint and are not packets of a network, by kind.
#[derive(Debug, Default)]
struct NotPackets(BTreeMap<&'static str, u64>);

impl NotPackets {
    fn take(&mut self, drops: &[DropTotal]) {
        let mut now: BTreeMap<&str, u64> = BTreeMap::new();
        for total in drops.iter().filter(|total| !total.key.kind.is_packet()) {
            *now.entry(total.key.kind.name()).or_default() += total.packets;
        }
        for (kind, count) in now {
            let sum = self.0.entry(kind).or_default();
            *sum = count.max(*sum);
        }
    }

    fn family(&self) -> Option<Family> {
        let samples = self.0.iter().map(|(kind, count)| Sample::new([("kind", *kind)], *count)).collect();
        (!self.0.is_empty()).then_some(Family {
            name: "droptrace_not_packets",
            help: "Freed buffers that are not packets of a network: messages of Unix sockets, of netlink, copies, empty buffers",
            unit: None,
            kind: Kind::Counter,
            samples,
        })
    }
}

/// The order gives series of the first reading to the keys with the most drops.
fn most_first(totals: &[DropTotal]) -> Vec<&DropTotal> {
    let mut totals: Vec<_> = totals.iter().filter(|total| total.key.kind.is_packet()).collect();
    totals.sort_by_key(|total| Reverse(total.packets));
    totals
}

fn of_work(work: &Work) -> [Family; 4] {
    let seconds = Some("seconds");
    let measure = |value: f64| vec![Sample::new([], value)];
    [
        Family {
            name: "droptrace_reads",
            help: "Readings of the totals",
            unit: None,
            kind: Kind::Counter,
            samples: vec![
                Sample::new([("result", "ok")], work.reads),
                Sample::new([("result", "failed")], work.failed_reads),
            ],
        },
        gauge(
            "droptrace_read_duration",
            "Duration of the last reading",
            seconds,
            measure(work.read_duration.as_secs_f64()),
        ),
        gauge(
            "droptrace_last_read_timestamp",
            "Time of the last successful reading, in seconds since the epoch",
            seconds,
            measure(process::seconds(work.last_read)),
        ),
        gauge(
            "droptrace_scrape_duration",
            "Duration of the last encoding of the metrics",
            seconds,
            measure(work.encode_duration.as_secs_f64()),
        ),
    ]
}

fn gauge(name: &'static str, help: &'static str, unit: Option<&'static str>, samples: Vec<Sample>) -> Family {
    Family { name, help, unit, kind: Kind::Gauge, samples }
}

fn info(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Family {
    Family { name, help, unit: None, kind: Kind::Info, samples }
}

#[cfg(test)]
mod tests;
