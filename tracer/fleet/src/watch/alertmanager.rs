//! Sends findings to Alertmanager, by its API v2 (`POST /api/v2/alerts`).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, Instant, SystemTime};

use droptrace_base::outside::{printable, to_json};
use serde::Serialize;
use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, header};

use super::lives::{Life, Phase};
use crate::prometheus::{Access, EngineError, endpoint};

/// The path of the API.
const API: &str = "/api/v2/alerts";
/// The most alerts in one request.
const BATCH: usize = 64;
/// The most characters of one text of an alert.
const LONGEST: usize = 1024;
/// The most hosts that an alert names.
const HOSTS: usize = 20;
/// The most bytes that are read of an answer.
const ANSWER: u64 = 4096;
/// Alertmanager closes a finding by itself when it has received nothing about it for so many intervals.
const INTERVALS: u32 = 4;

/// The error of sending findings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// The request failed, or was not answered in time.
    #[error("cannot send findings to {url}")]
    Request {
        /// The address.
        url: String,
        /// The cause.
        source: Box<ureq::Error>,
    },
    /// Alertmanager, or a proxy, refused the findings.
    #[error("{url} refuses the findings with HTTP status {status}{}", if .said.is_empty() { String::new() } else { format!(": {said}") })]
    Refused {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of the answer.
        said: String,
    },
    /// The time was over before all findings were sent.
    #[error("{url} took {sent} of {all} findings within {}", humantime::format_duration(*.time))]
    Late {
        /// The address.
        url: String,
        /// The findings that were sent.
        sent: usize,
        /// All findings.
        all: usize,
        /// The time limit.
        time: Duration,
    },
    /// The findings cannot be written as JSON.
    #[error("cannot write the findings as JSON")]
    Json(#[source] serde_json::Error),
}

/// An Alertmanager.
#[derive(Debug)]
pub(crate) struct Alertmanager {
    url: String,
    agent: Agent,
    headers: Vec<(HeaderName, HeaderValue)>,
    time: Duration,
    /// The address that an alert leads to.
    page: String,
    /// The time after which an alert is over unless it is sent again.
    lasts: Duration,
}

/// An alert of the API.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'l> {
    labels: BTreeMap<&'l str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'l str,
}

impl Alertmanager {
    /// An Alertmanager at this address, which takes the findings of one round within `time`. `page` is the address that its
    /// alerts lead to, `interval` the time between rounds.
    pub(crate) fn new(
        url: &str,
        access: &Access,
        time: Duration,
        page: &str,
        interval: Duration,
    ) -> Result<Self, EngineError> {
        let mut headers = access.request_headers()?;
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("droptrace-fleet/", env!("CARGO_PKG_VERSION")))
            .tls_config(access.tls()?)
            .build();
        let lasts = interval.saturating_mul(INTERVALS).saturating_add(time);
        Ok(Self { url: endpoint(url, API)?, agent: config.into(), headers, time, page: page.to_owned(), lasts })
    }

    /// Sends the findings of a round. Those that are not closed are open until they are sent again, or for four intervals.
    pub(crate) fn send(&self, now: SystemTime, lives: &[(Phase, String, Life)]) -> Result<(), NotSent> {
        let deadline = Instant::now() + self.time;
        let all = lives.len();
        for (batch, lives) in lives.chunks(BATCH).enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NotSent::Late { url: self.url.clone(), sent: batch * BATCH, all, time: self.time });
            }
            let alerts: Vec<_> = lives.iter().map(|(phase, id, life)| self.alert(now, *phase, id, life)).collect();
            self.post(&alerts, left)?;
        }
        Ok(())
    }

    fn post(&self, alerts: &[Alert<'_>], left: Duration) -> Result<(), NotSent> {
        let mut body = Vec::new();
        to_json(&mut body, &alerts).map_err(NotSent::Json)?;
        let mut request = self.agent.post(&self.url).config().timeout_global(Some(left)).build();
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let failed = |source| NotSent::Request { url: self.url.clone(), source: Box::new(source) };
        let mut response = request.send(&body).map_err(failed)?;
        let status = response.status();
        let mut text = Vec::new();
        // The part that was read is enough for a message, and a success says nothing.
        _ = response.body_mut().as_reader().take(ANSWER).read_to_end(&mut text);
        if status.as_u16() == 200 {
            return Ok(());
        }
        let said = shortened(String::from_utf8_lossy(&text).trim());
        Err(NotSent::Refused { url: self.url.clone(), status: status.as_u16(), said })
    }

    fn alert<'l>(&'l self, now: SystemTime, phase: Phase, id: &str, life: &'l Life) -> Alert<'l> {
        let finding = &life.finding;
        let fixed = [
            ("alertname", "DroptraceFinding"),
            ("finding", id),
            ("kind", &finding.kind),
            ("severity", &finding.severity),
        ];
        let subject = finding.subject.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut hosts = finding.named.iter().take(HOSTS).map(String::as_str).collect::<Vec<_>>().join(", ");
        if finding.hosts > HOSTS.min(finding.named.len()) {
            hosts.push_str(", …");
        }
        let annotations = [
            ("summary", finding.title.clone()),
            ("description", finding.meaning.clone()),
            ("hosts", hosts),
            ("run", finding.next.join("\n")),
        ];
        let ends = if phase == Phase::Closed { now } else { now + self.lasts };
        Alert {
            // A label without a value is none.
            labels: fixed.into_iter().chain(subject).map(|(name, value)| (name, shortened(value))).collect(),
            annotations: annotations.into_iter().map(|(name, text)| (name, shortened(&text))).collect(),
            starts_at: moment(SystemTime::UNIX_EPOCH + Duration::from_nanos(life.opened)),
            ends_at: moment(ends),
            generator_url: &self.page,
        }
    }
}

fn moment(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// The beginning of a text; each of its lines in visible characters.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(LONGEST).collect();
    start.lines().map(printable).collect::<Vec<_>>().join("\n")
}
