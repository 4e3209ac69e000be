//! A fake engine with prepared answers, for tests.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A server that runs until it is dropped.
pub(super) struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request that the engine received.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) head: String,
    body: String,
}

impl Request {
    /// A field of the form.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let fields = self.body.split('&').filter_map(|field| field.split_once('='));
        fields.filter(|(other, _)| *other == name).map(|(_, value)| decoded(value)).next()
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let lower = head.to_lowercase();
        let length = lower.split_once("content-length: ")?.1.lines().next()?.trim().parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { head, body: String::from_utf8(body).ok()? })
    }
}

impl Fake {
    /// Answers each request with status 200 and the body that the function makes for it.
    pub(super) fn new(body: impl Fn(&Request) -> String + Send + 'static) -> Self {
        Self::raw(move |request| {
            let body = body(request);
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        })
    }

    /// Answers each request with these bytes, and closes the connection.
    pub(super) fn raw(answer: impl Fn(&Request) -> String + Send + 'static) -> Self {
        Self::start(move |mut stream, request| {
            // A client that has closed the connection needs no answer.
            _ = stream.write_all(answer(request).as_bytes());
        })
    }

    /// Answers with these bytes, and then neither continues nor closes the connection.
    pub(super) fn hanging(bytes: &'static str) -> Self {
        let mut held = Vec::new();
        Self::start(move |mut stream, _| {
            _ = stream.write_all(bytes.as_bytes());
            held.push(stream);
        })
    }

    fn start(mut serve: impl FnMut(TcpStream, &Request) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stop) = (Arc::clone(&requests), Arc::clone(&stopped));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(request) = Request::read(&stream) {
                    log.lock().unwrap().push(request.clone());
                    serve(stream, &request);
                }
            }
        });
        Self { address, requests, stopped, thread: Some(thread) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // This connection wakes the server, which then sees the flag.
        _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// An answer with these series, each with labels and a value.
pub(super) fn ok(series: &[(&[(&str, &str)], f64)]) -> String {
    let mut text = r#"{"status":"success","data":{"resultType":"vector","result":["#.to_owned();
    for (index, (labels, value)) in series.iter().enumerate() {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let comma = if index == 0 { "" } else { "," };
        let metric = serde_json::Value::Object(labels);
        write!(text, r#"{comma}{{"metric":{metric},"value":[1700000000,"{value}"]}}"#).unwrap();
    }
    text + "]}}"
}

/// The value of a form field.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}
