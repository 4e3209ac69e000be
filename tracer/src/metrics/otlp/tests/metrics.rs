//! Tests of pushed metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, metric, number_data_point,
};
use prost::Message;

use super::collector::{Collector, TAKEN};
use super::{Options, Run, Signal, identity, metrics_of, sample};
use crate::domain::event::Timestamp;
use crate::metrics::model::{Family, Kind, Metrics, Value};
use crate::metrics::otlp::{Counts, Endpoint, message, parse_headers};
use crate::sink::samples::NEW_YEAR;

const NOW: Timestamp = Timestamp(NEW_YEAR.0 + 7);

fn texts(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    attributes
        .iter()
        .filter_map(|attribute| match attribute.value.as_ref()?.value.as_ref()? {
            any_value::Value::StringValue(text) => Some((&*attribute.key, &**text)),
            _ => None,
        })
        .collect()
}

fn metrics(request: &ExportMetricsServiceRequest) -> &[Metric] {
    let [resource] = &*request.resource_metrics else { panic!("{request:?}") };
    let [scope] = &*resource.scope_metrics else { panic!("{request:?}") };
    &scope.metrics
}

fn points(metric: &Metric) -> &[NumberDataPoint] {
    match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) => &sum.data_points,
        metric::Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    }
}

/// The sums of integer points, by name.
fn sums(request: &ExportMetricsServiceRequest) -> BTreeMap<&str, i64> {
    let sum = |metric: &Metric| -> i64 {
        let values = points(metric).iter().map(|point| match point.value {
            Some(number_data_point::Value::AsInt(value)) => value,
            _ => 0,
        });
        values.sum()
    };
    metrics(request).iter().map(|metric| (&*metric.name, sum(metric))).collect()
}

#[test]
fn names_units_and_types_are_those_of_scrapes() {
    let request = message::request(&metrics_of(5), &identity(), NOW);
    let shown: Vec<_> = metrics(&request)
        .iter()
        .map(|metric| (&*metric.name, &*metric.unit, matches!(metric.data, Some(metric::Data::Sum(_)))))
        .collect();
    let expected = [
        ("droptrace_dropped_packets_total", "", true),
        ("droptrace_dropped_bytes_total", "By", true),
        ("process_cpu_seconds_total", "s", true),
        ("droptrace_backend_rank", "", false),
        ("droptrace_backend_info", "", false),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn counters_are_sums_since_the_start() {
    let request = message::request(&metrics_of(5), &identity(), NOW);
    let [drops, _, cpu, backend, source] = metrics(&request) else { panic!("{request:?}") };
    let Some(metric::Data::Sum(sum)) = &drops.data else { panic!("{drops:?}") };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
    let [first, other] = points(drops) else { panic!("{drops:?}") };
    assert_eq!((first.start_time_unix_nano, first.time_unix_nano), (NEW_YEAR.0, NOW.0));
    assert_eq!(texts(&first.attributes), [("reason", "NO_SOCKET"), ("symbol", "")]);
    let integers = [first, other, &points(backend)[0]].map(|point| point.value);
    assert_eq!(integers, [5, 10, 1].map(|value| Some(number_data_point::Value::AsInt(value))));
    assert_eq!(points(cpu)[0].value, Some(number_data_point::Value::AsDouble(0.25)));
    assert_eq!((points(backend)[0].start_time_unix_nano, points(backend)[0].time_unix_nano), (0, NOW.0));
    assert_eq!(texts(&points(source)[0].attributes), [("mode", "tp_btf")]);
}

#[test]
fn integers_are_exact_and_none_turns_negative() {
    let value = |count| {
        let samples = vec![sample(&[], Value::Count(count))];
        let family = Family { name: "droptrace_dropped_packets", help: "", unit: None, kind: Kind::Counter, samples };
        let request = message::request(&Metrics { families: vec![family] }, &identity(), NOW);
        points(&metrics(&request)[0])[0].value
    };
    let beyond_floats = (1 << 53) + 1;
    assert_eq!(value(beyond_floats), Some(number_data_point::Value::AsInt((1 << 53) + 1)));
    assert_eq!(value(u64::MAX), Some(number_data_point::Value::AsInt(i64::MAX)));
}

#[test]
fn resource_identifies_the_agent() {
    let request = message::request(&metrics_of(1), &identity(), NOW);
    let expected = [
        ("service.name", "droptrace"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", "lab-1:23870"),
        ("host.name", "lab-1"),
    ];
    assert_eq!(texts(&request.resource_metrics[0].resource.as_ref().unwrap().attributes), expected);
}

#[test]
fn endpoint_receives_all_metrics() {
    let collector = Collector::start(|_| TAKEN.to_vec()).unwrap();
    let headers = parse_headers("X-Scope-OrgID: lab").unwrap();
    let endpoint = Endpoint::new(&collector.url(), headers).unwrap();
    let (interval, timeout) = (Duration::from_millis(10), super::PATIENCE);
    let options = Options { identity: identity(), metrics: Some(endpoint), logs: None, interval, timeout };
    let run = Run::with(options, 70_000);
    for _ in 0..3 {
        let request = collector.next().unwrap();
        assert_eq!(request.path, "/v1/metrics");
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("x-scope-orgid"), Some("lab"));
        let request = ExportMetricsServiceRequest::decode(&*request.body).unwrap();
        let sums = sums(&request);
        assert_eq!(
            (sums["droptrace_dropped_packets_total"], sums["droptrace_dropped_bytes_total"]),
            (210_000, 7_000_000)
        );
    }
    run.push.stop(super::PATIENCE);
}

#[test]
fn every_result_is_counted_from_the_first() {
    let [exports, lost] = Counts::default().families();
    assert_eq!((exports.name, lost.name), ("droptrace_otlp_exports", "droptrace_otlp_lost"));
    assert_eq!((exports.samples.len(), lost.samples.len()), (10, 2));
    assert!(exports.samples.iter().chain(&lost.samples).all(|sample| sample.value == Value::Count(0)));
    let counts = Counts::default();
    counts.add_lost(Signal::Logs, 3);
    let [_, lost] = counts.families();
    assert_eq!(
        lost.samples,
        [sample(&[("signal", "metrics")], Value::Count(0)), sample(&[("signal", "logs")], Value::Count(3))]
    );
}
