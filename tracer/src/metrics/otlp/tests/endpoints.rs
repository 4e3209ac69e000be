//! Endpoints that are down, slow, or give unexpected answers.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use prost::Message;

use super::collector::{Collector, TAKEN};
use super::{Outcome, PATIENCE, Run, Signal};

/// Short enough for a test, for endpoints that never answer.
const SHORT: Duration = Duration::from_millis(100);

fn start(url: &str) -> Run {
    Run::start(url, Signal::Metrics, PATIENCE, 1)
}

/// The same answer for each request.
fn always(answer: impl Into<Vec<u8>>) -> Collector {
    let answer = answer.into();
    Collector::start(move |_| answer.clone()).unwrap()
}

fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The results of pushes to an endpoint with this answer.
fn outcome_of(answer: impl Into<Vec<u8>>) -> Outcome {
    let collector = always(answer);
    let run = start(&collector.url());
    collector.next().unwrap();
    collector.next().unwrap();
    run.push.stop(PATIENCE);
    let counted = |outcome: &Outcome| run.counts.exports(Signal::Metrics, *outcome) > 0;
    let outcomes: Vec<_> = Outcome::ALL.into_iter().filter(counted).collect();
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes[0]
}

fn free_port() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

#[test]
fn endpoint_that_starts_later_receives_the_sums() {
    let address = free_port();
    let run = start(&format!("http://{address}"));
    run.await_export(Signal::Metrics, Outcome::Unreached, 2);
    assert_eq!(run.exports(Signal::Metrics, Outcome::Taken), 0);
    let collector = Collector::start_at(address, |_| TAKEN.to_vec()).unwrap();
    collector.next().unwrap();
    run.await_export(Signal::Metrics, Outcome::Taken, 2);
    assert_eq!(run.counts.lost(Signal::Metrics), 0);
    run.push.stop(PATIENCE);
}

#[test]
fn endpoint_that_never_answers_times_out_each_time() {
    let (collector, go) = Collector::silent().unwrap();
    let run = Run::start(&collector.url(), Signal::Metrics, SHORT, 1);
    run.await_export(Signal::Metrics, Outcome::Unreached, 2);
    run.push.stop(PATIENCE);
    drop(go);
}

#[test]
fn statuses_of_failure_are_refusals() {
    for head in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "500 Oh", "503 Busy", "302 Found"] {
        assert_eq!(outcome_of(with_body(head, b"no")), Outcome::Refused, "{head}");
    }
}

#[test]
fn redirect_is_not_followed() {
    let elsewhere = always(TAKEN);
    let head = format!("307 Moved\r\nLocation: {}/v1/metrics", elsewhere.url());
    let collector = always(with_body(&head, b""));
    let run = start(&collector.url());
    run.await_export(Signal::Metrics, Outcome::Refused, 2);
    run.push.stop(PATIENCE);
    assert_eq!(run.counts.exports(Signal::Metrics, Outcome::Taken), 0);
}

#[test]
fn invalid_answers_are_reported() {
    let protobuf = "200 OK\r\nContent-Type: application/x-protobuf";
    let rubbish = [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        with_body("200 OK\r\nContent-Type: text/html", b"<html>Welcome</html>"),
        with_body(protobuf, &[0xff; 64]),
        with_body(protobuf, &vec![0; 1 << 20]),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Filler: x\r\n".repeat(10_000)).into_bytes(),
    ];
    for answer in rubbish {
        let start = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        assert_eq!(outcome_of(answer), Outcome::Unintelligible, "{start}");
    }
}

#[test]
fn rejected_items_are_counted() {
    let partial = ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: "too old".into() };
    let response = ExportMetricsServiceResponse { partial_success: Some(partial) };
    let head = "200 OK\r\nContent-Type: application/x-protobuf";
    let collector = always(with_body(head, &response.encode_to_vec()));
    let run = start(&collector.url());
    run.await_export(Signal::Metrics, Outcome::Partly, 2);
    run.push.stop(PATIENCE);
    let exports = run.counts.exports(Signal::Metrics, Outcome::Partly);
    assert_eq!(run.counts.lost(Signal::Metrics), exports * 3);
}
