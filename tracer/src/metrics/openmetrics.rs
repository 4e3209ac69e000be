//! Metrics as text for scrapes: `OpenMetrics`, and the older text format of Prometheus for clients that do not accept
//! it.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::model::{Family, Kind, Metrics, Sample, Value};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    const OPEN_METRICS: &str = "application/openmetrics-text";

    /// The format that a client accepts according to its header `Accept`.
    pub(crate) fn accepted(accept: &str) -> Self {
        let mut types = accept.split(',').map(|part| part.split(';').next().unwrap_or(part).trim());
        let is_known = types.any(|each| each.eq_ignore_ascii_case(Self::OPEN_METRICS));
        if is_known { Self::OpenMetrics } else { Self::Text }
    }

    /// The header `Content-Type` of the format.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The metrics in this format.
pub(crate) fn encode(metrics: Arc<Metrics>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Reported(metrics)));
    let mut out = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut out, &registry)?,
        Format::Text => prometheus_text::encode(&mut out, &registry)?,
    }
    Ok(out)
}

#[derive(Debug)]
struct Reported(Arc<Metrics>);

impl Collector for Reported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.families.iter().try_for_each(|family| encode_family(family, &mut encoder))
    }
}

fn encode_family(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let unit = family.unit.map(|unit| Unit::Other(unit.to_owned()));
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Info => MetricType::Info,
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
    family.samples.iter().try_for_each(|sample| encode_sample(sample, family.kind, &mut metric))
}

fn encode_sample(sample: &Sample, kind: Kind, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    let labels = sample.labels.as_slice();
    if kind == Kind::Info {
        return metric.encode_info(&labels);
    }
    if labels.is_empty() {
        return encode_value(sample.value, kind, metric);
    }
    encode_value(sample.value, kind, &mut metric.encode_family(&labels)?)
}

fn encode_value(value: Value, kind: Kind, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    const NONE: Option<&Exemplar<NoLabelSet, f64>> = None;
    match (kind, value) {
        (Kind::Counter, Value::Count(count)) => metric.encode_counter(&count, NONE),
        (Kind::Counter, Value::Real(value)) => metric.encode_counter(&value, NONE),
        (_, Value::Count(count)) => metric.encode_gauge(&count),
        (_, Value::Real(value)) => metric.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Arc<Metrics> {
        let family = |name, unit, kind, samples| Family { name, help: "What it means", unit, kind, samples };
        let drops = vec![
            Sample::new([("reason", "NO_SOCKET"), ("symbol", "")], 7_u64),
            Sample::new([("reason", "a \"quoted\\\" word\nand a line"), ("symbol", "x")], u64::MAX),
        ];
        let families = vec![
            family("droptrace_dropped_packets", None, Kind::Counter, drops),
            family("droptrace_dropped", Some("bytes"), Kind::Counter, vec![Sample::new([], 700_u64)]),
            family("droptrace_build", None, Kind::Info, vec![Sample::new([("version", "1.2")], 1_u64)]),
            family("droptrace_read_duration", Some("seconds"), Kind::Gauge, vec![Sample::new([], 0.25)]),
        ];
        Arc::new(Metrics { families })
    }

    #[test]
    fn open_metrics() {
        insta::assert_snapshot!(encode(metrics(), Format::OpenMetrics).unwrap());
    }

    #[test]
    fn text_format() {
        insta::assert_snapshot!(encode(metrics(), Format::Text).unwrap());
    }

    #[test]
    fn scrapers_get_what_they_accept() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("text/html, Application/OpenMetrics-Text"), Format::OpenMetrics);
        for accept in ["", "*/*", "text/plain", "application/openmetrics-text-not", ",;,"] {
            assert_eq!(Format::accepted(accept), Format::Text, "{accept}");
        }
    }
}
