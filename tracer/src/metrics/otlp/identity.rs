//! Who pushes.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::domain::event::Timestamp;

/// Name of the service, which Prometheus makes the label `job` of.
const SERVICE: &str = "droptrace";

/// Who pushes, and since when it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The machine (`uname -n`).
    pub host: String,
    /// What tells this agent from others; Prometheus makes the label `instance` of it.
    pub instance: String,
    /// When its counters were 0.
    pub started_at: Timestamp,
}

impl Identity {
    /// As OTLP has it.
    pub(super) fn resource(&self) -> Resource {
        let attributes = vec![
            text("service.name", SERVICE),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &*self.instance),
            text("host.name", &*self.host),
        ];
        Resource { attributes, ..Resource::default() }
    }
}

/// What made the figures and records.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: SERVICE.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.into()))
}

/// An attribute.
pub(super) fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
