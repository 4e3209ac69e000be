//! Figures as OTLP metrics.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
    number_data_point,
};

use super::identity::{Identity, scope, text};
use crate::domain::event::Timestamp;
use crate::metrics::figures::{Family, Figures, Kind, Sample, Value};

/// All figures, as they are at `now`.
pub(super) fn request(figures: &Figures, identity: &Identity, now: Timestamp) -> ExportMetricsServiceRequest {
    let span = Span { start: identity.started_at, now };
    let metrics =
        figures.families.iter().filter(|family| !family.samples.is_empty()).map(|family| metric(family, span));
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope()), metrics: metrics.collect(), ..ScopeMetrics::default() }];
    let resource = Some(identity.resource());
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// What a figure is of.
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

/// The name as it is scraped. Receivers that add the unit and `_total` to names leave those that end so alone
/// (<https://github.com/prometheus/otlptranslator/blob/v1.0.0/metric_namer.go>), others show names as they come: so
/// the same figure has the same name everywhere.
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

/// The unit's name in UCUM, which OTLP writes units in.
fn unit(unit: &str) -> &str {
    match unit {
        "bytes" => "By",
        "seconds" => "s",
        other => other,
    }
}

fn point(sample: &Sample, start: Timestamp, now: Timestamp) -> NumberDataPoint {
    let value = match sample.value {
        // OTLP's integers have a sign; no counter comes near it.
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
