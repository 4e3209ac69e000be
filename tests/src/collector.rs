//! An endpoint for OTLP over HTTP that answers as a test wants.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;

/// Time limit of a request; only a hang reaches it, on the slowest machine too. (The tests of the crate `tracer`
/// include this file, so it cannot measure the machine as this crate's other files do.)
const PATIENCE: Duration = Duration::from_mins(5);

/// The answer of an endpoint that accepts all requests.
pub const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// A request that the endpoint received.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path, such as `/v1/metrics`.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, unpacked.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each == name).map(|(_, value)| &**value)
    }
}

/// A function that returns the bytes of an answer.
type Answer = Arc<Mutex<dyn FnMut(&Request) -> Vec<u8> + Send>>;

/// An endpoint that listens on the loopback until the process ends.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    requests: Receiver<Request>,
}

impl Collector {
    /// Listens on a port of its own.
    pub fn start(answer: impl FnMut(&Request) -> Vec<u8> + Send + 'static) -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answer)
    }

    /// Listens on this address.
    pub fn start_at(address: SocketAddr, answer: impl FnMut(&Request) -> Vec<u8> + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (sender, requests) = channel();
        let answer: Answer = Arc::new(Mutex::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, sender) = (Arc::clone(&answer), sender.clone());
                // A client that goes away is no error of the test.
                thread::spawn(move || serve(&stream, &answer, &sender));
            }
        });
        Ok(Self { address, requests })
    }

    /// An endpoint that accepts pushes and answers none of them until the sender is dropped.
    pub fn silent() -> io::Result<(Self, Sender<()>)> {
        let (hold, wait) = channel::<()>();
        let silent = Self::start(move |_| {
            _ = wait.recv();
            vec![]
        })?;
        Ok((silent, hold))
    }

    /// The URL to push to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request.
    pub fn next(&self) -> Option<Request> {
        self.requests.recv_timeout(PATIENCE).ok()
    }
}

fn serve(stream: &TcpStream, answer: &Answer, sender: &Sender<Request>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let bytes = answer.lock().unwrap_or_else(PoisonError::into_inner)(&request);
        // The test may have stopped waiting for requests.
        let _ = sender.send(request);
        let mut stream = stream;
        stream.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads a request; absent at the end.
///
/// # Errors
///
/// The function also fails where the request declares its body as packed by gzip, and the body is not.
pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let start = line()?;
    let Some(path) = start.split(' ').nth(1).map(str::to_owned) else { return Ok(None) };
    let mut headers = vec![];
    while let Some((name, value)) = line()?.split_once(':') {
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { path, headers, body: vec![] };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut packed = vec![0; length];
    reader.read_exact(&mut packed)?;
    if request.header("content-encoding") == Some("gzip") {
        GzDecoder::new(&*packed).read_to_end(&mut request.body)?;
    } else {
        request.body = packed;
    }
    Ok(Some(request))
}
