//! Serves the metrics over HTTP. Connections, requests and their time are limited, so that no client can block others,
//! and rejected requests are counted.

mod answer;
mod connections;
mod encoding;
mod tally;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

pub(crate) use answer::Exposition;
use answer::{Body, answer};
use connections::{ConnectionSlot, Connections, Full, GaveWay};
pub(crate) use tally::{Cause, Tally};

use super::web_config::WebConfig;

/// The limits of clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most connections at a time; one client may have half as many.
    pub(crate) connections: usize,
    /// The most bytes of a request.
    pub(crate) request_bytes: usize,
    /// The most lines of a request's headers.
    pub(crate) headers: usize,
    /// Time limit of a request's arrival, and of the TLS handshake before it.
    pub(crate) request_time: Duration,
    /// Time after which an unfinished answer may be cut off for a new connection.
    pub(crate) answer_time: Duration,
    /// Time limit of a whole connection: a request and its answer.
    pub(crate) connection_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            request_bytes: 16 << 10,
            headers: 64,
            request_time: Duration::from_secs(5),
            answer_time: Duration::from_secs(1),
            connection_time: Duration::from_secs(15),
        }
    }
}

/// Pause after the system had no more room for connections.
const PAUSE: Duration = Duration::from_millis(200);
/// Time limit of unfinished answers at the end.
const GRACE: Duration = Duration::from_secs(2);

/// The shared state of all connections.
#[derive(Clone)]
struct Shared {
    limits: Limits,
    tally: Arc<Tally>,
    web: watch::Receiver<WebConfig>,
    exposition: watch::Receiver<Option<Arc<Exposition>>>,
}

/// A bound HTTP server.
pub(crate) struct Server {
    listener: TcpListener,
    shared: Shared,
    connections: Connections,
}

impl Server {
    /// Binds the address at once; requests are answered with the content of `exposition` while [`Server::serve`] runs.
    pub(crate) async fn bind(
        address: SocketAddr,
        limits: Limits,
        web: watch::Receiver<WebConfig>,
        exposition: watch::Receiver<Option<Arc<Exposition>>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let shared = Shared { limits, tally: Arc::default(), web, exposition };
        Ok(Self { listener, shared, connections: Connections::new(limits.connections, limits.answer_time) })
    }

    /// The bound address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The counts of answered and rejected requests.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.shared.tally)
    }

    /// Answers requests until `end`. Then it accepts no more connections, but answers requests that have arrived.
    pub(crate) async fn serve(self, end: impl Future<Output = ()>) {
        tokio::select! {
            () = self.accept() => {}
            () = end => {}
        }
        drop(self.listener);
        // Answers that take longer are cut off.
        _ = timeout(GRACE, self.connections.are_answered()).await;
    }

    async fn accept(&self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => self.take(stream, from.ip()),
                Err(error) => {
                    self.shared.tally.refuse(Cause::Accept);
                    tracing::debug!("cannot accept a connection: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, from: IpAddr) {
        let shared = self.shared.clone();
        let start = |slot| tokio::spawn(connection(stream, shared, slot)).abort_handle();
        match self.connections.open(from, start) {
            Ok(None) => {}
            Ok(Some(GaveWay::Idle)) => self.shared.tally.refuse(Cause::Idle),
            Ok(Some(GaveWay::Slow)) => self.shared.tally.refuse(Cause::Slow),
            Ok(Some(GaveWay::Answered)) | Err(Full) => self.shared.tally.refuse(Cause::Connections),
        }
    }
}

/// One request and its answer. Scrapes are seconds apart, so that keeping the connection would save nearly nothing.
async fn connection(stream: TcpStream, shared: Shared, slot: ConnectionSlot) {
    let (tally, limits) = (Arc::clone(&shared.tally), shared.limits);
    let tls = shared.web.borrow().tls.clone();
    let served = async {
        match tls {
            None => serve_on(stream, shared, &slot).await,
            Some(tls) => match timeout(limits.request_time, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve_on(stream, shared, &slot).await,
                Ok(Err(error)) => {
                    tracing::debug!("no TLS: {error}");
                    Err(Cause::Tls)
                }
                Err(_) => Err(Cause::Slow),
            },
        }
    };
    if let Err(cause) = timeout(limits.connection_time, served).await.unwrap_or(Err(Cause::Slow)) {
        tally.refuse(cause);
    }
}

async fn serve_on(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: Shared,
    slot: &ConnectionSlot,
) -> Result<(), Cause> {
    let service = service_fn(|request: Request<Incoming>| {
        let shared = &shared;
        async move { Ok::<Response<Body>, Infallible>(answer(&request, shared, slot).await) }
    });
    let Limits { request_bytes, headers, request_time, .. } = shared.limits;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(request_time);
    http.keep_alive(false).max_buf_size(request_bytes).max_headers(headers);
    http.serve_connection(TokioIo::new(stream), service).await.or_else(|error| {
        tracing::debug!("a connection: {error}");
        refused(&error).map_or(Ok(()), Err)
    })
}

/// The cause of a rejection; `None` if the client closed the connection.
fn refused(error: &hyper::Error) -> Option<Cause> {
    if error.is_timeout() {
        Some(Cause::Slow)
    } else if error.is_parse_too_large() {
        Some(Cause::TooLarge)
    } else if error.is_parse() {
        Some(Cause::Malformed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
