//! A single drop as an OTLP log record.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use serde_json::Value as Json;

use super::identity::{Identity, attribute, scope};
use crate::domain::event::{DropEvent, Timestamp};
use crate::sink::{drop_fields, drop_sentence};

/// Fields for which a record has its own members, and the kernel's address: an address would reveal the position of the
/// kernel in memory, so it does not leave the host.
const LEFT_OUT: [&str; 3] = ["schema", "timestamp", "address"];
/// Schema of the attributes.
const EVENT: &str = "droptrace.drop.v1";

/// The drop's fields in their JSON form, as attributes; unknown fields are left out.
pub(super) fn record(event: &DropEvent<'_>, now: Timestamp) -> LogRecord {
    let fields = drop_fields(event).into_iter().filter(|(name, _)| !LEFT_OUT.contains(&&**name));
    LogRecord {
        time_unix_nano: event.timestamp.0,
        observed_time_unix_nano: now.0,
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".into(),
        body: Some(AnyValue { value: Some(Value::StringValue(drop_sentence(event))) }),
        attributes: fields.filter_map(|(name, field)| Some(attribute(&name, value(field)?))).collect(),
        event_name: EVENT.into(),
        ..LogRecord::default()
    }
}

fn value(field: Json) -> Option<Value> {
    match field {
        Json::Null | Json::Object(_) => None,
        Json::Bool(bool) => Some(Value::BoolValue(bool)),
        Json::Number(number) => {
            number.as_i64().map(Value::IntValue).or_else(|| number.as_f64().map(Value::DoubleValue))
        }
        Json::String(text) => Some(Value::StringValue(text)),
        Json::Array(fields) => {
            let values = fields.into_iter().filter_map(value).map(|value| AnyValue { value: Some(value) });
            Some(Value::ArrayValue(ArrayValue { values: values.collect() }))
        }
    }
}

/// The encoded request with the records.
pub(super) fn request(log_records: Vec<LogRecord>, identity: &Identity) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
    let resource = Some(identity.resource());
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] }
}
