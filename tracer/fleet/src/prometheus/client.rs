//! An engine that is queried over HTTP: `/api/v1/query`, which Prometheus and all compatible engines have.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};
use std::time::Duration;

use droptrace_base::files::ShortStrings;
use droptrace_base::outside::{has_valid_port, printable};
use ureq::http::{HeaderName, HeaderValue, Response, Uri, header};
use ureq::{Agent, Body};

use super::access::Access;
use super::answer::{self, Answer};
use super::error::{EngineError, is_of_tls};
use super::series::Series;

/// The most bytes that are read of an error page.
const ERROR_PAGE: u64 = 64 << 10;

/// The limits of a query.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time limit of one query, from connecting to the last byte of its answer.
    pub time: Duration,
    /// Bytes of one answer, decompressed.
    pub bytes: u64,
}

/// An engine.
#[derive(Debug)]
pub struct Engine {
    url: String,
    agent: Agent,
    headers: Vec<(HeaderName, HeaderValue)>,
    limits: Limits,
    warnings: RefCell<BTreeSet<String>>,
    answers: Cell<usize>,
}

impl Engine {
    /// An engine at this address, which may have a path. This function does not connect to it.
    pub fn new(url: &str, access: &Access, limits: Limits) -> Result<Self, EngineError> {
        let mut headers = access.request_headers()?;
        headers.push((header::ACCEPT, HeaderValue::from_static("application/json")));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(limits.time))
            .user_agent(concat!("droptrace-fleet/", env!("CARGO_PKG_VERSION")))
            .tls_config(access.tls()?)
            .build();
        Ok(Self {
            url: endpoint(url, API)?,
            agent: config.into(),
            headers,
            limits,
            warnings: RefCell::default(),
            answers: Cell::default(),
        })
    }

    /// The address of queries.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The warnings in the answers, each once.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().iter().cloned().collect()
    }

    /// Number of answers so far.
    pub fn answers(&self) -> usize {
        self.answers.get()
    }

    /// Queries the state at a time, in seconds since the Unix epoch, or now by the engine's own clock. `row` makes a row of
    /// each series as it arrives, or leaves it out; only the rows are kept.
    pub(super) fn query<R>(
        &self,
        query: &str,
        at: Option<f64>,
        mut row: impl FnMut(&Series) -> Option<R>,
    ) -> Result<Vec<R>, EngineError> {
        let mut rows = Vec::new();
        self.ask(query, at, &mut |series| rows.extend(row(series)))?;
        Ok(rows)
    }

    fn ask(&self, query: &str, at: Option<f64>, each: &mut dyn FnMut(&Series)) -> Result<(), EngineError> {
        let time = at.map(|at| format!("{at:.3}"));
        // The engine may stop the query when the client no longer waits.
        let timeout = format!("{}ms", self.limits.time.as_millis());
        let fields = [("query", query), ("timeout", &timeout)].into_iter().chain(time.as_deref().map(|t| ("time", t)));
        tracing::debug!(query, time, "asking");
        let mut request = self.agent.post(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.send_form(fields).map_err(|error| self.failed(error))?;
        let answer = if response.status() == 200 { self.read(response, each)? } else { self.refusal(response)? };
        self.answers.set(self.answers.get() + 1);
        self.warnings.borrow_mut().extend(answer.warnings);
        if answer.status == "success" {
            return Ok(());
        }
        let [kind, message] = [answer.error_type, answer.error].map(|text| printable(&text).into_owned());
        let query = cut(query, 300);
        Err(EngineError::Query { url: self.url.clone(), kind, message, query })
    }

    fn read(&self, response: Response<Body>, each: &mut dyn FnMut(&Series)) -> Result<Answer, EngineError> {
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut limited = Limited { inner: BufReader::with_capacity(1 << 16, body), left: self.limits.bytes };
        let url = self.url.clone();
        answer::read(ShortStrings::new(&mut limited, LONGEST), each).map_err(|source| match source.classify() {
            _ if limited.left == 0 => EngineError::TooLarge { url, limit: self.limits.bytes },
            _ if source.io_error_kind() == Some(io::ErrorKind::FileTooLarge) => {
                EngineError::LongText { url, limit: LONGEST }
            }
            serde_json::error::Category::Io => self.broken(source.into()),
            serde_json::error::Category::Eof => EngineError::Cut { url, source: source.into() },
            _ => EngineError::Rubbish { url, source },
        })
    }

    /// An engine reports errors as an answer, a proxy as a page of any kind.
    fn refusal(&self, mut response: Response<Body>) -> Result<Answer, EngineError> {
        let (url, status) = (self.url.clone(), response.status());
        if let Some(to) = response.headers().get(header::LOCATION).filter(|_| status.is_redirection()) {
            return Err(EngineError::Redirected { url, to: String::from_utf8_lossy(to.as_bytes()).into_owned() });
        }
        let mut page = Vec::new();
        // The part that was read is enough for a message.
        _ = response.body_mut().as_reader().take(ERROR_PAGE).read_to_end(&mut page);
        match answer::read(page.as_slice(), &mut |_| ()) {
            Ok(answer) if answer.status == "error" && status.as_u16() != 404 => Ok(answer),
            _ => Err(EngineError::Status { url, status: status.as_u16(), message: first_words(&page) }),
        }
    }

    fn failed(&self, error: ureq::Error) -> EngineError {
        let url = self.url.clone();
        match error {
            ureq::Error::Timeout(_) => EngineError::Slow { url, after: self.limits.time },
            source if is_of_tls(&source) => EngineError::Tls { url, source: Box::new(source) },
            source => EngineError::Unreachable { url, source: Box::new(source) },
        }
    }

    /// The error of an answer that could not be read to its end.
    fn broken(&self, error: io::Error) -> EngineError {
        match ureq::Error::from(error) {
            ureq::Error::Timeout(_) => EngineError::Slow { url: self.url.clone(), after: self.limits.time },
            other => EngineError::Cut { url: self.url.clone(), source: io::Error::other(other) },
        }
    }
}

/// The most bytes of one text of an answer, such as a label's value or a warning.
const LONGEST: usize = 64 << 10;

/// Counts the series of an answer, and reads each to its last label and point.
pub(crate) fn count_series(answer: &[u8]) -> Result<usize, serde_json::Error> {
    let mut count = 0;
    answer::read(ShortStrings::new(answer, LONGEST), &mut |series| {
        let parts = series.labels().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        assert_eq!(parts, series.text.len(), "a label is missing");
        assert!(!series.points.is_empty(), "a series without points");
        count += 1;
    })?;
    Ok(count)
}

/// A reader that stops at the limit; then `left` is 0.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// The path of queries.
const API: &str = "/api/v1/query";

/// Returns the address of an API, whose path follows that of the server.
pub(crate) fn endpoint(url: &str, api: &str) -> Result<String, EngineError> {
    let refused = |cause| EngineError::Address { url: url.to_owned(), cause };
    let uri: Uri = url.parse().map_err(|_| refused("it is not a valid URL"))?;
    let authority = uri.authority().ok_or_else(|| refused("it has no host name"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(refused("it starts with neither http:// nor https://")),
    }
    if !has_valid_port(authority.as_str(), authority.host()) {
        return Err(refused("its port is not between 1 and 65535"));
    }
    if authority.as_str().contains('@') {
        let cause = "it contains a password, and all users can read arguments; use --http-config";
        // The address is not repeated in the message.
        return Err(EngineError::Address { url: "it".to_owned(), cause });
    }
    if uri.query().is_some() {
        return Err(refused("it has a query after its path"));
    }
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix(api).unwrap_or(path);
    Ok(format!("{}://{authority}{path}{api}", uri.scheme_str().unwrap_or("http")))
}

fn first_words(page: &[u8]) -> String {
    let text = String::from_utf8_lossy(page);
    cut(&printable(&text.split_whitespace().collect::<Vec<_>>().join(" ")), 120)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
