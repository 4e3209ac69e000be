//! The meaning of an answer (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>).

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::{DecodeError, Message};

use super::counts::{Outcome, Signal};
use crate::outside::printable;

/// The most characters of an answer's text that are shown.
const SHOWN: usize = 160;

/// The answer of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) is_protobuf: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// The result of a push, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// Records or data points that the endpoint read and rejected.
    pub(super) rejected: u64,
    /// Whether the same data may be sent again.
    pub(super) again: bool,
    /// The pause that the endpoint asks for.
    pub(super) pause: Option<Duration>,
    /// The error; empty if there is none.
    pub(super) why: String,
}

impl Verdict {
    pub(super) fn of(outcome: Outcome, why: impl Into<String>) -> Self {
        Self { outcome, rejected: 0, again: outcome == Outcome::Unreached, pause: None, why: why.into() }
    }

    /// Returns whether the endpoint understood the push and accepted what it could.
    pub(super) const fn is_delivered(&self) -> bool {
        matches!(self.outcome, Outcome::Taken | Outcome::Partly)
    }
}

/// Interprets the answer to a push of `signal`.
pub(super) fn judge(signal: Signal, answer: &Answer) -> Verdict {
    if !(200..300).contains(&answer.status) {
        return refused(answer);
    }
    if !answer.body.is_empty() && !answer.is_protobuf {
        let why = format!("it answers {} with something that is not OTLP: {}", answer.status, excerpt(&answer.body));
        return Verdict::of(Outcome::Unintelligible, why);
    }
    match rejected(signal, &answer.body) {
        Err(error) => Verdict::of(Outcome::Unintelligible, format!("its answer is not OTLP: {error}")),
        Ok((0, _)) => Verdict::of(Outcome::Taken, ""),
        Ok((rejected, message)) => {
            let why = format!("it rejected {rejected} items: {}", excerpt(message.as_bytes()));
            Verdict { rejected, ..Verdict::of(Outcome::Partly, why) }
        }
    }
}

fn refused(answer: &Answer) -> Verdict {
    let status = answer.status;
    let why = match status {
        300..400 => format!("it answers {status} and redirects to another address, which droptrace does not follow"),
        _ if answer.is_protobuf || answer.body.is_empty() => format!("it answers {status}"),
        _ => format!("it answers {status}: {}", excerpt(&answer.body)),
    };
    Verdict {
        again: matches!(status, 429 | 502 | 503 | 504),
        pause: answer.retry_after,
        ..Verdict::of(Outcome::Refused, why)
    }
}

/// The number of rejected items, and the endpoint's message.
fn rejected(signal: Signal, body: &[u8]) -> Result<(u64, String), DecodeError> {
    let (rejected, message) = match signal {
        Signal::Metrics => ExportMetricsServiceResponse::decode(body)?
            .partial_success
            .map(|partial| (partial.rejected_data_points, partial.error_message)),
        Signal::Logs => ExportLogsServiceResponse::decode(body)?
            .partial_success
            .map(|partial| (partial.rejected_log_records, partial.error_message)),
    }
    .unwrap_or_default();
    Ok((u64::try_from(rejected).unwrap_or(0), message))
}

/// The start of a text, without hidden characters.
fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..SHOWN * 4).unwrap_or(text));
    let text: Cow<'_, str> = printable(text.trim());
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}
