//! What can go wrong with an engine, and the way out.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::START;
use crate::model::Full;

/// What to do about an error of TLS, by the words of the TLS library, which has no types for these causes here.
fn tls_advice(error: &ureq::Error) -> &'static str {
    advice_for(&error.to_string())
}

fn advice_for(words: &str) -> &'static str {
    const ADVICE: [(&str, &str); 5] = [
        ("CaUsedAsEndEntity", "its certificate is that of an authority (CA:TRUE); give the engine one with CA:FALSE"),
        ("UnknownIssuer", "no known authority has signed its certificate; tls_config.ca_file names another authority"),
        ("NotValidForName", "its certificate is for another name; use that name in the address"),
        ("xpired", "its certificate has expired, or the clock of this host is wrong"),
        ("peer is incompatible", "it offers neither TLS 1.2 nor TLS 1.3"),
    ];
    let found = ADVICE.iter().find(|(cause, _)| words.contains(cause));
    found.map_or("its certificate, or its kind of encryption, is not accepted", |(_, advice)| advice)
}

/// Whether an error is one of TLS.
pub(super) fn is_of_tls(error: &ureq::Error) -> bool {
    let words = error.to_string();
    ["invalid peer certificate", "peer is incompatible", "received fatal alert"].iter().any(|each| words.contains(each))
}

/// Why an engine could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address is none.
    #[error("{url} is no address of an engine: {cause}; write it as http://host:9090, or with the path it is under")]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// Nobody answers.
    #[error("cannot reach {url}: is it up, and can this host connect to it?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the system answered.
        #[source]
        source: Box<ureq::Error>,
    },
    /// Both do not agree on an encrypted connection.
    #[error("no encrypted connection to {url}: {}", tls_advice(.source))]
    Tls {
        /// The address of the engine.
        url: String,
        /// The answer of the TLS library.
        #[source]
        source: Box<ureq::Error>,
    },
    /// No answer in time.
    #[error(
        "{url} had not answered in full after {}: a longer --timeout lets it, a shorter --range or --baseline, or \
         --match, asks for less",
        humantime::format_duration(*.after)
    )]
    Slow {
        /// What was asked.
        url: String,
        /// How long it had.
        after: Duration,
    },
    /// It refused to answer anybody, or this one.
    #[error("{url} answers with HTTP status {status}{}; {}", said(.message), advice(*.status))]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// What it says about it, if anything.
        message: String,
    },
    /// It sends elsewhere.
    #[error("{url} is elsewhere: it redirects to {to}; give the address it redirects to, without /api/v1/query")]
    Redirected {
        /// What was asked.
        url: String,
        /// Where to.
        to: String,
    },
    /// It understood, and could not.
    #[error("{url} could not answer: {message} ({kind}); the query was {query}")]
    Query {
        /// What was asked.
        url: String,
        /// Its word for the kind of error.
        kind: String,
        /// Its message.
        message: String,
        /// What was asked for, cut where it is long.
        query: String,
    },
    /// What is kept of a fleet has a bound.
    #[error("what {url} tells is more than a fleet may be; --match asks for a part of it")]
    Full {
        /// What was asked.
        url: String,
        /// What there is too much of.
        #[source]
        source: Full,
    },
    /// The answer is no answer.
    #[error(
        "what {url} answers is no answer of Prometheus' API: is it the address of an engine, with the path it is under?"
    )]
    Rubbish {
        /// What was asked.
        url: String,
        /// Where it went wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The answer ended in the middle.
    #[error("the answer of {url} broke off: was it stopped, or a proxy on the way?")]
    Cut {
        /// What was asked.
        url: String,
        /// What the system told.
        #[source]
        source: io::Error,
    },
    /// A text in it is longer than any label.
    #[error(
        "{url} answers with a text of more than {limit} bytes: it is no engine of Prometheus' kind, or is at fault"
    )]
    LongText {
        /// What was asked.
        url: String,
        /// Bytes that a text may have.
        limit: usize,
    },
    /// More than what was allowed.
    #[error(
        "{url} answers with more than {limit} bytes: --match asks for a part of the fleet, --max-answer allows more"
    )]
    TooLarge {
        /// What was asked.
        url: String,
        /// Bytes of one answer that are read.
        limit: u64,
    },
    /// No agents.
    #[error(
        "{url} knows no agents: no series {START}{matchers} within {}; does it scrape `droptrace agent`?",
        humantime::format_duration(*.within)
    )]
    Nobody {
        /// What was asked.
        url: String,
        /// What was asked for.
        matchers: String,
        /// How far back.
        within: Duration,
    },
    /// One agent is told of twice.
    #[error(
        "{url} tells {series} times of the same agent, {agent}: its drops would count {series} times; have the engine \
         drop duplicates, choose one by --match, or tell agents apart by more labels with --identity"
    )]
    Ambiguous {
        /// What was asked.
        url: String,
        /// Values of the labels that tell agents apart.
        agent: String,
        /// How many series tell of it at a time.
        series: u64,
    },
    /// A file of settings cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Settings contradict each other, or cannot be sent.
    #[error("{0}")]
    Settings(String),
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "--http-config names a file with a password or token",
        404 | 405 => "give the address with the path that the engine's /api/v1/query is under",
        429 => "it is asked too much: try later, or ask for less with a shorter --range or with --match",
        500..=599 => "its log may have more",
        _ => "is it the address of an engine?",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn errors_of_tls_have_advice_of_their_own() {
        for (words, advice) in [
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "CA:FALSE"),
            ("invalid peer certificate: UnknownIssuer", "ca_file"),
            ("invalid peer certificate: certificate expired: verification time 1 (UNIX)", "clock"),
            ("peer is incompatible: ServerDoesNotSupportTls12Or13", "TLS 1.2"),
            ("received fatal alert: HandshakeFailure", "not accepted"),
        ] {
            let error = ureq::Error::Io(io::Error::new(io::ErrorKind::InvalidData, words));
            assert!(is_of_tls(&error) && tls_advice(&error).contains(advice), "{words}: {}", tls_advice(&error));
        }
        assert!(!is_of_tls(&ureq::Error::Io(io::ErrorKind::ConnectionRefused.into())));
    }
}
