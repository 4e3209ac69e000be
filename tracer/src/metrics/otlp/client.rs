//! One endpoint: sends requests and receives answers, both with limits.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use rustls::crypto::ring;
use thiserror::Error;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{HeaderName, HeaderValue, Request, Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::answer::{Answer, Verdict};
use super::counts::{Outcome, Signal};
use crate::outside::has_valid_port;

/// The longest answer that is read, in bytes. A successful one has a few.
const MAX_ANSWER: u64 = 64 << 10;
/// The longest header of an answer.
const MAX_HEAD: usize = 16 << 10;
/// The size of the buffers for input and output.
const BUFFER: usize = 16 << 10;
/// The type of bodies, in both directions.
const PROTOBUF: &str = "application/x-protobuf";

/// The address of pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The error of an unusable URL.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum EndpointError {
    /// The URL is invalid, or not one of HTTP.
    #[error("not of the form http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]")]
    NoUrl,
    /// The URL contains a user name.
    #[error(
        "the URL contains a user name, which all users can read; put an Authorization header into the headers file instead"
    )]
    UserInfo,
    /// The port is invalid.
    #[error("its port is not between 1 and 65535")]
    Port,
    /// The URL has a query, after which no path can be appended.
    #[error("`/v1/metrics` or `/v1/logs` is appended to the URL, which therefore cannot have a query")]
    Query,
}

impl Endpoint {
    /// The URL to which `/v1/metrics` and `/v1/logs` are appended, and the headers of each request.
    pub(crate) fn new(url: &str, headers: Vec<(HeaderName, HeaderValue)>) -> Result<Self, EndpointError> {
        let uri: Uri = url.parse().map_err(|_| EndpointError::NoUrl)?;
        let authority = uri.authority().ok_or(EndpointError::NoUrl)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
            return Err(EndpointError::NoUrl);
        }
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if !has_valid_port(authority.as_str(), authority.host()) {
            return Err(EndpointError::Port);
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(EndpointError::Query);
        }
        Ok(Self { base: url.trim_end_matches('/').to_owned(), headers })
    }
}

/// A client of one endpoint.
pub(super) struct Client {
    agent: Agent,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Client {
    /// A client for pushes of `signal`; each takes at most `timeout`, and an idle connection is kept for `idle`.
    pub(super) fn new(endpoint: &Endpoint, signal: Signal, timeout: Duration, idle: Duration) -> Self {
        let mut config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(MAX_HEAD)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(1)
            .max_idle_age(idle)
            .user_agent(concat!("droptrace/", env!("CARGO_PKG_VERSION")))
            .accept(PROTOBUF);
        if endpoint.base.starts_with("https") {
            config = config.tls_config(tls());
        }
        let url = format!("{}/v1/{}", endpoint.base, signal.name());
        Self { agent: config.build().into(), url, headers: endpoint.headers.clone() }
    }

    /// The address of pushes.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a body made by [`encode`], and waits for the answer.
    pub(super) fn post(&self, body: &[u8]) -> Result<Answer, Verdict> {
        let mut request = Request::post(&self.url).header(CONTENT_TYPE, PROTOBUF).header(CONTENT_ENCODING, "gzip");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| Verdict::of(Outcome::Unreached, error.to_string()))?;
        read(self.agent.run(request).map_err(|error| verdict(&error))?)
    }
}

fn read(mut response: Response<Body>) -> Result<Answer, Verdict> {
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let status = response.status().as_u16();
    let is_protobuf = header(CONTENT_TYPE).is_some_and(|kind| kind.trim_start().starts_with(PROTOBUF));
    let retry_after = header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let body = match body {
        // For an error the status is enough.
        Err(_) if !response.status().is_success() => vec![],
        body => body.map_err(|error| verdict(&error))?,
    };
    Ok(Answer { status, is_protobuf, retry_after, body })
}

fn verdict(error: &ureq::Error) -> Verdict {
    let outcome = match error {
        ureq::Error::Protocol(_)
        | ureq::Error::Http(_)
        | ureq::Error::LargeResponseHeader(..)
        | ureq::Error::BodyExceedsLimit(_) => Outcome::Unintelligible,
        _ => Outcome::Unreached,
    };
    let why = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "the request timed out".to_owned(),
        error => error.to_string(),
    };
    Verdict::of(outcome, why)
}

/// Trusts the authorities that the system trusts.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("cannot read certificates that the system trusts: {error}");
    }
    let roots = found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build()
}

/// A request's body, compressed.
pub(super) fn encode(message: &impl Message) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&message.encode_to_vec())?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_to_which_paths_can_be_appended() {
        let url = |url, signal| {
            let endpoint = Endpoint::new(url, vec![]).unwrap();
            Client::new(&endpoint, signal, Duration::from_secs(1), Duration::from_secs(1)).url
        };
        assert_eq!(url("http://[::1]:4318", Signal::Metrics), "http://[::1]:4318/v1/metrics");
        assert_eq!(url("http://lab:9090/api/v1/otlp/", Signal::Metrics), "http://lab:9090/api/v1/otlp/v1/metrics");
        assert_eq!(url("https://loki.lab/otlp", Signal::Logs), "https://loki.lab/otlp/v1/logs");
    }

    #[test]
    fn error_of_other_urls_has_the_cause() {
        let refused = |url| Endpoint::new(url, vec![]).unwrap_err();
        for url in ["", "lab:4317", "grpc://lab:4317", "/v1/metrics", "http://", "http:///x", "http://a b"] {
            assert_eq!(refused(url), EndpointError::NoUrl, "{url}");
        }
        assert_eq!(refused("http://me:secret@lab"), EndpointError::UserInfo);
        assert_eq!(refused("http://lab/?key=1"), EndpointError::Query);
        assert_eq!(refused("http://lab/#x"), EndpointError::Query);
    }
}
