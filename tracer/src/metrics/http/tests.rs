use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;
use crate::metrics::model::{Family, Kind, Metrics, Sample};

/// A server with a free port, and a handle that ends it.
struct Scene {
    address: SocketAddr,
    tally: Arc<Tally>,
    exposition: watch::Sender<Option<Arc<Exposition>>>,
    _web: watch::Sender<WebConfig>,
    _end: oneshot::Sender<()>,
}

async fn scene(limits: Limits) -> Scene {
    let (exposition, seen) = watch::channel(None);
    let (web, seen_web) = watch::channel(WebConfig::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), limits, seen_web, seen).await.unwrap();
    let (address, tally) = (server.address().unwrap(), server.tally());
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(server.serve(async { _ = ended.await }));
    Scene { address, tally, exposition, _web: web, _end: end }
}

/// One family with a help text of this length, fresh for this time.
fn exposition(bytes: usize, fresh: Duration) -> Arc<Exposition> {
    let help: &'static str = Box::leak("x".repeat(bytes).into_boxed_str());
    let samples = vec![Sample::new([], 7_u64)];
    let families = vec![Family { name: "droptrace_dropped_packets", help, unit: None, kind: Kind::Counter, samples }];
    let stale_at = Some(Instant::now() + fresh);
    Arc::new(Exposition::new(&Arc::new(Metrics { families }), stale_at).unwrap())
}

const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(50);

impl Scene {
    /// The whole answer. A connection that is cut off may be reset.
    async fn ask(&self, request: &[u8]) -> String {
        String::from_utf8(self.ask_bytes(request).await).unwrap()
    }

    async fn ask_bytes(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        _ = stream.write_all(request).await;
        let mut answer = vec![];
        _ = stream.read_to_end(&mut answer).await;
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
    }

    fn refused(&self, cause: &str) -> Sample {
        let [_, refused] = self.tally.families();
        refused.samples.into_iter().find(|sample| &*sample.labels[0].1 == cause).unwrap()
    }

    async fn until_refused(&self, cause: &str, times: u64) {
        let wanted = Sample::new([("cause", cause)], times);
        let came = async {
            while self.refused(cause) != wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = timeout(Duration::from_secs(20), came).await;
        assert!(patience.is_ok(), "{:?} instead of {wanted:?}", self.refused(cause));
    }
}

#[tokio::test]
async fn each_path_has_its_answer() {
    let scene = scene(Limits::default()).await;
    for (path, status) in [("/metrics", "503"), ("/-/ready", "503"), ("/-/healthy", "200"), ("/", "200"), ("/x", "404")]
    {
        let answer = scene.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    scene.exposition.send(Some(exposition(9, LONG))).unwrap();
    let answer = scene.get("/metrics").await;
    assert!(
        answer.ends_with(
            "\r\n\r\n# HELP droptrace_dropped_packets_total xxxxxxxxx\n# TYPE droptrace_dropped_packets_total counter\n\
        droptrace_dropped_packets_total 7\n"
        ),
        "{answer}"
    );
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    let accept = "Accept: text/plain;q=0.3\r\naccept: application/openmetrics-text;version=1.0.0";
    let answer = scene.ask(format!("GET /metrics?x=y HTTP/1.1\r\nHost: x\r\n{accept}\r\n\r\n").as_bytes()).await;
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    assert!(scene.get("/-/ready").await.starts_with("HTTP/1.1 200"));
    let [scrapes, _] = scene.tally.families();
    assert_eq!(scrapes.samples, [Sample::new([], 2_u64)]);
}

#[tokio::test]
async fn stale_metrics_are_not_ready() {
    let scene = scene(Limits::default()).await;
    scene.exposition.send(Some(exposition(9, Duration::ZERO))).unwrap();
    let answer = scene.get("/-/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("too old\n"), "{answer}");
    assert!(scene.get("/metrics").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn heads_have_no_bodies() {
    let scene = scene(Limits::default()).await;
    scene.exposition.send(Some(exposition(9, LONG))).unwrap();
    let answer = scene.ask(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

/// The header of an answer, and its body.
fn parts(answer: &[u8]) -> (String, &[u8]) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(answer[..end].to_vec()).unwrap(), &answer[end..])
}

#[tokio::test]
async fn scrapes_are_compressed_for_those_that_accept_it() {
    let scene = scene(Limits::default()).await;
    scene.exposition.send(Some(exposition(9_000, LONG))).unwrap();
    for accept in ["", "Accept: application/openmetrics-text\r\n"] {
        let ask = |method, more| format!("{method} /metrics HTTP/1.1\r\nHost: x\r\n{accept}{more}\r\n");
        let plain = scene.ask_bytes(ask("GET", "Accept-Encoding: gzip;q=0, identity\r\n").as_bytes()).await;
        let (head, text) = parts(&plain);
        assert!(!head.contains("content-encoding") && head.contains("vary: Accept, Accept-Encoding\r\n"), "{head}");
        // The header may span several lines.
        let gzip = scene.ask_bytes(ask("GET", "Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n").as_bytes()).await;
        let (head, bytes) = parts(&gzip);
        assert!(head.contains("content-encoding: gzip\r\n") && head.contains("vary: Accept, Acc"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", bytes.len())), "{head}");
        let mut back = vec![];
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut back).unwrap();
        assert_eq!(back, text);
        assert!(bytes.len() * 20 < text.len(), "{} of {}", bytes.len(), text.len());
        let of_head = scene.ask_bytes(ask("HEAD", "Accept-Encoding: gzip\r\n").as_bytes()).await;
        let (of_head, nothing) = parts(&of_head);
        let headers = |head: &str| head.lines().filter(|line| !line.starts_with("date")).map(str::to_owned).collect();
        assert_eq!((headers(&of_head), nothing), (headers(&head) as Vec<_>, &[][..]));
    }
}

#[tokio::test]
async fn invalid_requests_are_rejected_and_counted() {
    let scene = scene(Limits::default()).await;
    let long = "x".repeat(20 << 10);
    let many = "X-Many: y\r\n".repeat(100);
    for (request, status, cause, times) in [
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), "405", "method", 1),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "405", "method", 2),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde".to_owned(), "413", "too_large", 1),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "413", "too_large", 2),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), "431", "too_large", 3),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "", "too_large", 4),
        (format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"), "", "too_large", 5),
        ("nonsense\r\n\r\n".to_owned(), "400", "malformed", 1),
        ("\0\u{1}\u{2}\r\n\r\n".to_owned(), "", "malformed", 2),
        ("\u{16}\u{3}\u{1}\u{2}TLS for one without".to_owned(), "", "malformed", 3),
    ] {
        let answer = scene.ask(request.as_bytes()).await;
        // If not all of the request is read, the answer may be lost on its way.
        assert!(
            answer.is_empty() && status.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        scene.until_refused(cause, times).await;
    }
    assert!(scene.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn closed_connection_is_not_counted_as_rejected() {
    let scene = scene(Limits::default()).await;
    for part in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        stream.write_all(part).await.unwrap();
    }
    assert!(scene.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
    let [_, refused] = scene.tally.families();
    assert!(refused.samples.iter().all(|sample| *sample == Sample::new([("cause", &sample.labels[0].1)], 0_u64)));
}

#[tokio::test]
async fn missing_request_times_out() {
    let scene = scene(Limits { request_time: SHORT, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").await.unwrap();
    scene.until_refused("slow", 1).await;
    let mut answer = vec![];
    _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8(answer).unwrap().contains("200"));
}

#[tokio::test]
async fn reader_that_does_not_read_times_out() {
    let scene = scene(Limits { connection_time: Duration::from_secs(1), ..Limits::default() }).await;
    // The answer is longer than the buffers of the system.
    scene.exposition.send(Some(exposition(64 << 20, LONG))).unwrap();
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    scene.until_refused("slow", 1).await;
    assert!(scene.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn idle_connections_are_closed_and_answered_ones_are_not() {
    // Half of the connections are from one address.
    let scene = scene(Limits { connections: 4, answer_time: LONG, ..Limits::default() }).await;
    scene.exposition.send(Some(exposition(64 << 20, LONG))).unwrap();
    let mut waiting = vec![];
    for _ in 0..9 {
        waiting.push(TcpStream::connect(scene.address).await.unwrap());
    }
    scene.until_refused("idle", 7).await;
    assert!(scene.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
    scene.until_refused("idle", 8).await;
    drop(waiting);
    let mut answered = vec![];
    for _ in 0..2 {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        answered.push(stream);
    }
    assert_eq!(scene.get("/-/healthy").await, "");
    scene.until_refused("connections", 1).await;
}

#[tokio::test]
async fn readers_that_do_not_read_do_not_block_others() {
    // Half of the connections are from one address.
    let scene = scene(Limits { connections: 4, answer_time: Duration::ZERO, ..Limits::default() }).await;
    scene.exposition.send(Some(exposition(64 << 20, LONG))).unwrap();
    let mut readers = vec![];
    for _ in 0..5 {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        readers.push(stream);
    }
    scene.until_refused("slow", 3).await;
    assert!(scene.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
    scene.until_refused("slow", 4).await;
    scene.until_refused("connections", 0).await;
}
