//! Metrics in the form of OTLP.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
    number_data_point,
};

use super::identity::{Identity, scope, text};
use crate::domain::event::Timestamp;
use crate::metrics::model::{Family, Kind, Metrics, Sample, Value};

/// All metrics at `now`.
pub(super) fn request(metrics: &Metrics, identity: &Identity, now: Timestamp) -> ExportMetricsServiceRequest {
    let span = Span { start: identity.started_at, now };
    let metrics =
        metrics.families.iter().filter(|family| !family.samples.is_empty()).map(|family| metric(family, span));
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope()), metrics: metrics.collect(), ..ScopeMetrics::default() }];
    let resource = Some(identity.resource());
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// The start and the time of a data point.
#[derive(Clone, Copy)]
struct Span {
    start: Timestamp,
    now: Timestamp,
}

fn metric(family: &Family, span: Span) -> Metric {
    let points = |start| family.samples.iter().map(|sample| point(sample, start, span.now)).collect();
    let data = match family.kind {
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: points(span.start),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        Kind::Gauge | Kind::Info => metric::Data::Gauge(Gauge { data_points: points(Timestamp(0)) }),
    };
    Metric {
        name: name(family),
        description: family.help.into(),
        unit: family.unit.map_or("", unit).into(),
        data: Some(data),
        ..Metric::default()
    }
}

/// The name that scrapes show. Receivers that append the unit and `_total` to names do not change names that already
/// have these endings (<https://github.com/prometheus/otlptranslator/blob/v1.0.0/metric_namer.go>), and others show
/// names unchanged, so that the same metric has the same name everywhere.
fn name(family: &Family) -> String {
    let mut name = family.name.to_owned();
    if let Some(unit) = family.unit {
        name.push('_');
        name.push_str(unit);
    }
    name.push_str(match family.kind {
        Kind::Counter => "_total",
        Kind::Gauge => "",
        Kind::Info => "_info",
    });
    name
}

/// The unit's name in UCUM, which OTLP uses.
fn unit(unit: &str) -> &str {
    match unit {
        "bytes" => "By",
        "seconds" => "s",
        other => other,
    }
}

fn point(sample: &Sample, start: Timestamp, now: Timestamp) -> NumberDataPoint {
    let value = match sample.value {
        // OTLP's integers are signed; no counter comes near the limit.
        Value::Count(count) => number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
        Value::Real(real) => number_data_point::Value::AsDouble(real),
    };
    NumberDataPoint {
        attributes: sample.labels.iter().map(|(name, value)| text(name, &**value)).collect(),
        start_time_unix_nano: start.0,
        time_unix_nano: now.0,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}
