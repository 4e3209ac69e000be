//! The identity of the pushing agent.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::domain::event::Timestamp;

/// Name of the service, which Prometheus uses as the label `job`.
const SERVICE: &str = "droptrace";

/// The identity of the pushing agent, and the start of its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The machine (`uname -n`).
    pub(crate) host: String,
    /// The name of this agent, which Prometheus uses as the label `instance`.
    pub(crate) instance: String,
    /// The time at which its counters were 0.
    pub(crate) started_at: Timestamp,
}

impl Identity {
    /// The identity as an OTLP resource.
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

/// The software that made the metrics and records.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: SERVICE.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

/// A string attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.into()))
}

/// An attribute.
pub(super) fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
