//! Tests of pushed log records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use prost::Message;

use super::collector::{Collector, Request, TAKEN};
use super::{Outcome, PATIENCE, Run, Signal, event};
use crate::domain::event::Timestamp;
use crate::metrics::otlp::queue::ROOM;
use crate::metrics::otlp::record;
use crate::sink::samples::{NEW_YEAR, key, udp_packet};

const BUSY: &[u8] = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
const WRONG: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

fn start(url: &str) -> Run {
    Run::start(url, Signal::Logs, PATIENCE, 0)
}

fn records(request: &Request) -> Vec<LogRecord> {
    assert_eq!(request.path, "/v1/logs");
    let request = ExportLogsServiceRequest::decode(&*request.body).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

/// The lengths in the records, by which a test identifies them.
fn lengths(records: &[LogRecord]) -> Vec<i64> {
    let length = |record: &LogRecord| {
        let attribute = record.attributes.iter().find(|attribute| attribute.key == "length")?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::IntValue(length) => Some(*length),
            _ => None,
        }
    };
    records.iter().map(|record| length(record).unwrap()).collect()
}

#[test]
fn a_record_has_the_fields_of_a_line_but_the_address() {
    let (key, bytes) = (Arc::new(key()), udp_packet());
    let record = record::record(&event(&key, &bytes, 90), Timestamp(NEW_YEAR.0 + 100));
    assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (NEW_YEAR.0 + 90, NEW_YEAR.0 + 100));
    assert_eq!((record.severity_number(), &*record.event_name), (SeverityNumber::Info, "droptrace.drop.v1"));
    let body = "SOCKET_RCVBUFF at udp_queue_rcv_one_skb+0x1a7 on lo: UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90";
    assert_eq!(record.body, Some(AnyValue { value: Some(Value::StringValue(body.into())) }));
    let fields: BTreeMap<_, _> = record
        .attributes
        .iter()
        .map(|attribute| (&*attribute.key, attribute.value.clone().unwrap().value.unwrap()))
        .collect();
    let texts = [
        ("reason", "SOCKET_RCVBUFF"),
        ("subsystem", "core"),
        ("symbol", "udp_queue_rcv_one_skb"),
        ("interface", "lo"),
        ("protocol", "ipv4"),
        ("source", "10.0.0.1:53"),
        ("destination", "10.0.0.2:4444"),
        ("transport", "udp"),
    ];
    for (name, text) in texts {
        assert_eq!(fields[name], Value::StringValue(text.into()), "{name}");
    }
    assert_eq!((&fields["offset"], &fields["length"]), (&Value::IntValue(0x1a7), &Value::IntValue(90)));
    assert!(matches!(&fields["seen_by"], Value::ArrayValue(names) if names.values.len() == 1));
    for name in ["address", "schema", "timestamp", "module"] {
        assert!(!fields.contains_key(name), "{name}");
    }
}

#[test]
fn all_arrive_in_order_and_in_batches() {
    let collector = Collector::start(|_| TAKEN.to_vec()).unwrap();
    let run = start(&collector.url());
    run.offer(1..=1300);
    let mut arrived = vec![];
    while arrived.len() < 1300 {
        let batch = lengths(&records(&collector.next().unwrap()));
        assert!(!batch.is_empty() && batch.len() <= 512, "{}", batch.len());
        arrived.extend(batch);
    }
    assert_eq!(arrived, (1..=1300).collect::<Vec<_>>());
    run.push.stop(PATIENCE);
    assert_eq!(run.counts.lost(Signal::Logs), 0);
}

#[test]
fn records_without_room_are_counted() {
    let (go, wait) = channel::<()>();
    let collector = Collector::start(move |_| {
        // Until all were offered; afterwards at once.
        let _ = wait.recv();
        TAKEN.to_vec()
    })
    .unwrap();
    let run = start(&collector.url());
    run.offer([0]);
    let offered = u32::try_from(ROOM).unwrap() + 5_000;
    run.offer(1..offered);
    let lost = run.counts.lost(Signal::Logs);
    assert!(lost > 0, "there was room for all");
    drop(go);
    let mut arrived = 0;
    while arrived + lost < u64::from(offered) {
        arrived += records(&collector.next().unwrap()).len() as u64;
    }
    run.push.stop(PATIENCE);
    assert_eq!((arrived + lost, run.counts.lost(Signal::Logs)), (u64::from(offered), lost));
}

#[test]
fn records_refused_by_a_busy_endpoint_are_sent_again() {
    let mut requests = 0;
    let collector = Collector::start(move |_| {
        requests += 1;
        if requests == 1 { BUSY.to_vec() } else { TAKEN.to_vec() }
    })
    .unwrap();
    let run = start(&collector.url());
    run.offer([7]);
    let [first, second] = [(); 2].map(|()| lengths(&records(&collector.next().unwrap())));
    assert_eq!(first, second);
    run.await_export(Signal::Logs, Outcome::Taken, 1);
    run.push.stop(PATIENCE);
    assert_eq!((run.counts.exports(Signal::Logs, Outcome::Refused), run.counts.lost(Signal::Logs)), (1, 0));
}

#[test]
fn records_refused_for_good_are_counted() {
    let collector = Collector::start(|_| WRONG.to_vec()).unwrap();
    let run = start(&collector.url());
    run.offer([7]);
    collector.next().unwrap();
    run.await_export(Signal::Logs, Outcome::Refused, 1);
    eventually_lost(&run, 1);
    run.push.stop(PATIENCE);
}

#[test]
fn rejected_records_are_counted() {
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "too old".into() };
    let body = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n", body.len());
    let collector = Collector::start(move |_| [head.as_bytes(), &body].concat()).unwrap();
    let run = start(&collector.url());
    run.offer([7]);
    run.await_export(Signal::Logs, Outcome::Partly, 1);
    eventually_lost(&run, 1);
    run.push.stop(PATIENCE);
}

#[test]
fn shutdown_pushes_queued_records() {
    let collector = Collector::start(|_| TAKEN.to_vec()).unwrap();
    let run = start(&collector.url());
    // The first check for records is past.
    run.offer([1]);
    assert_eq!(lengths(&records(&collector.next().unwrap())), [1]);
    run.offer([2, 3]);
    run.push.stop(PATIENCE);
    // A check for records may come between the two.
    let mut arrived = vec![];
    while arrived.len() < 2 {
        arrived.extend(lengths(&records(&collector.next().unwrap())));
    }
    assert_eq!(arrived, [2, 3]);
    assert_eq!(run.counts.lost(Signal::Logs), 0);
}

#[test]
fn shutdown_counts_undelivered_records() {
    let collector = Collector::start(|_| BUSY.to_vec()).unwrap();
    let run = start(&collector.url());
    run.offer([1]);
    run.await_export(Signal::Logs, Outcome::Refused, 1);
    run.offer([2, 3]);
    run.push.stop(PATIENCE);
    assert_eq!(run.counts.lost(Signal::Logs), 3);
}

fn eventually_lost(run: &Run, records: u64) {
    super::eventually("lost records", || run.counts.lost(Signal::Logs) == records);
}
