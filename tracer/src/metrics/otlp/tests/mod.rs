//! Tests of pushes to endpoints of all kinds.

#[path = "../../../../../tests/src/collector.rs"]
#[expect(unreachable_pub, reason = "it is shared with the tests of the binary")]
mod collector;
mod endpoints;
mod metrics;
mod records;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::counts::{Outcome, Signal};
use super::{Counts, Endpoint, Identity, Options, Push};
use crate::domain::event::{DropEvent, NamedKey, Origin, PacketStart, Timestamp};
use crate::domain::facts::Facts;
use crate::metrics::model::{Family, Kind, Metrics, Sample, Value};
use crate::sink::samples::{NEW_YEAR, key, udp_packet};

/// Only a test that hangs reaches this limit.
const PATIENCE: Duration = Duration::from_secs(20);

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "still waiting for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn identity() -> Identity {
    Identity { host: "lab-1".into(), instance: "lab-1:23870".into(), started_at: NEW_YEAR }
}

fn sample(labels: &[(&'static str, &str)], value: Value) -> Sample {
    Sample { labels: labels.iter().map(|(name, value)| (*name, Arc::from(*value))).collect(), value }
}

/// A family of each kind, `packets` and twice as much among them.
fn metrics_of(packets: u64) -> Metrics {
    let family = |name, unit, kind, samples| Family { name, help: "What it means", unit, kind, samples };
    let of = |reason| [("reason", reason), ("symbol", "")];
    let drops = vec![sample(&of("NO_SOCKET"), Value::Count(packets)), sample(&of("other"), Value::Count(packets * 2))];
    let bytes = vec![sample(&of("NO_SOCKET"), Value::Count(packets * 100))];
    let backend = vec![sample(&[], Value::Count(1))];
    Metrics {
        families: vec![
            family("droptrace_dropped_packets", None, Kind::Counter, drops),
            family("droptrace_dropped", Some("bytes"), Kind::Counter, bytes),
            family("process_cpu", Some("seconds"), Kind::Counter, vec![sample(&[], Value::Real(0.25))]),
            family("droptrace_backend_rank", None, Kind::Gauge, backend.clone()),
            family("droptrace_backend", None, Kind::Info, vec![sample(&[("mode", "tp_btf")], Value::Count(1))]),
            family("droptrace_backend_unavailable", None, Kind::Info, vec![]),
        ],
    }
}

/// Pushes to one endpoint, with metrics at short intervals.
struct Run {
    push: Push,
    counts: Arc<Counts>,
}

impl Run {
    /// `packets` is the value of the metrics.
    fn start(url: &str, signal: Signal, timeout: Duration, packets: u64) -> Self {
        let endpoint = Endpoint::new(url, vec![]).unwrap();
        let (metrics, logs) = match signal {
            Signal::Metrics => (Some(endpoint), None),
            Signal::Logs => (None, Some(endpoint)),
        };
        Self::with(
            Options { identity: identity(), metrics, logs, interval: Duration::from_millis(10), timeout },
            packets,
        )
    }

    fn with(options: Options, packets: u64) -> Self {
        let (counts, metrics) = (Arc::<Counts>::default(), Arc::new(metrics_of(packets)));
        let push = Push::start(options, Arc::clone(&counts), move || Arc::clone(&metrics)).unwrap();
        Self { push, counts }
    }

    fn exports(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.counts.exports(signal, outcome)
    }

    fn await_export(&self, signal: Signal, outcome: Outcome, exports: u64) {
        eventually(outcome.name(), || self.exports(signal, outcome) >= exports);
    }

    /// Queues drops with these lengths.
    fn offer(&self, lengths: impl IntoIterator<Item = u32>) {
        let (key, bytes) = (Arc::new(key()), udp_packet());
        lengths.into_iter().for_each(|length| self.push.offer(&event(&key, &bytes, length)));
    }
}

fn event<'e>(key: &'e Arc<NamedKey>, bytes: &'e [u8], length: u32) -> DropEvent<'e> {
    let timestamp = Timestamp(NEW_YEAR.0 + u64::from(length));
    DropEvent {
        stack: &[],
        process: None,
        facts: Facts::default(),
        timestamp,
        key,
        seen_by: Origin::Ebpf.alone(),
        length,
        start: PacketStart::Mac,
        bytes,
    }
}
