//! Answers to requests.

use std::fmt;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::connections::ConnectionSlot;
use super::encoding::{Text, is_gzip_accepted};
use super::{Cause, Shared};
use crate::metrics::model::Metrics;
use crate::metrics::openmetrics::{Format, encode};

pub(super) type Body = Full<Bytes>;

const PAGE: &str = "\
<!DOCTYPE html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>droptrace agent</title></head>
<body>
<h1>droptrace agent</h1>
<p>What the kernel of this host drops, for Prometheus to scrape.</p>
<ul>
<li><a href=\"/metrics\">/metrics</a>: the metrics</li>
<li><a href=\"/-/healthy\">/-/healthy</a>: whether this program runs</li>
<li><a href=\"/-/ready\">/-/ready</a>: whether the metrics are there and fresh</li>
</ul>
</body>
</html>
";

/// The metrics as text, in both forms.
#[derive(Clone, Debug)]
pub(crate) struct Exposition {
    open_metrics: Text,
    text: Text,
    /// The time at which the metrics become stale; `None` before the first reading.
    stale_at: Option<Instant>,
}

impl Exposition {
    /// Encodes the metrics.
    pub(crate) fn new(metrics: &Arc<Metrics>, stale_at: Option<Instant>) -> Result<Self, fmt::Error> {
        let text = |format| encode(Arc::clone(metrics), format).map(Text::from);
        Ok(Self { open_metrics: text(Format::OpenMetrics)?, text: text(Format::Text)?, stale_at })
    }

    const fn form(&self, format: Format) -> &Text {
        match format {
            Format::OpenMetrics => &self.open_metrics,
            Format::Text => &self.text,
        }
    }
}

pub(super) async fn answer(request: &Request<Incoming>, shared: &Shared, slot: &ConnectionSlot) -> Response<Body> {
    if let Some((cause, refusal)) = refusal(request, shared).await {
        shared.tally.refuse(cause);
        return refusal;
    }
    // The password is checked last, because a client that guesses passwords must not block others.
    slot.is_answered();
    match request.uri().path() {
        "/metrics" => metrics(request, shared),
        "/-/healthy" => plain(StatusCode::OK, "droptrace runs\n"),
        "/-/ready" => ready(shared),
        "/" => with_type(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes())),
        _ => plain(StatusCode::NOT_FOUND, "not found: / lists the pages\n"),
    }
}

/// Requests that are rejected without a look at their path, and the cause.
async fn refusal(request: &Request<Incoming>, shared: &Shared) -> Option<(Cause, Response<Body>)> {
    let users = shared.web.borrow().users.clone();
    if let Some(users) = users {
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if !users.admit(authorization).await {
            let mut response = plain(StatusCode::UNAUTHORIZED, "this page needs a user name and a password\n");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            return Some((Cause::Credentials, response));
        }
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some((Cause::Method, response));
    }
    if !request.body().is_end_stream() {
        return Some((Cause::TooLarge, plain(StatusCode::PAYLOAD_TOO_LARGE, "requests must not have a body\n")));
    }
    None
}

fn metrics(request: &Request<Incoming>, shared: &Shared) -> Response<Body> {
    let format = Format::accepted(&all_of(request, ACCEPT));
    let exposition = shared.exposition.borrow().clone();
    let Some(exposition) = exposition else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the totals have not been read yet\n");
    };
    shared.tally.scraped();
    let text = exposition.form(format);
    let gzip = is_gzip_accepted(&all_of(request, ACCEPT_ENCODING)).then(|| text.gzip()).flatten();
    let is_gzip = gzip.is_some();
    let mut response = with_type(StatusCode::OK, format.content_type(), gzip.unwrap_or_else(|| text.plain()));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if is_gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The values of a header, which may span several lines.
fn all_of(request: &Request<Incoming>, name: HeaderName) -> String {
    let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn ready(shared: &Shared) -> Response<Body> {
    let stale_at = shared.exposition.borrow().as_ref().and_then(|exposition| exposition.stale_at);
    match stale_at {
        Some(stale_at) if Instant::now() < stale_at => plain(StatusCode::OK, "the metrics are fresh\n"),
        Some(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the last reading is too old\n"),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "the totals have not been read yet\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
