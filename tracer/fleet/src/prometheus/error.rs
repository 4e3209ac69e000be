//! Errors of an engine, and what to do about them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::START;
use crate::model::Full;

/// What to do about an error of TLS, by the text of the TLS library, whose causes have no types here.
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

/// Returns whether an error is one of TLS.
pub(super) fn is_of_tls(error: &ureq::Error) -> bool {
    let words = error.to_string();
    ["invalid peer certificate", "peer is incompatible", "received fatal alert"].iter().any(|each| words.contains(each))
}

/// The error of a query.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address is invalid.
    #[error(
        "{url} is not the address of a server: {cause}; write it as http://host:9090, with the server's path if it has one"
    )]
    Address {
        /// The address as it was given.
        url: String,
        /// The fault of the address.
        cause: &'static str,
    },
    /// No connection could be made.
    #[error("cannot reach {url}: is it up, and can this host connect to it?")]
    Unreachable {
        /// The address of the query.
        url: String,
        /// The system's error.
        #[source]
        source: Box<ureq::Error>,
    },
    /// Client and engine do not agree on an encrypted connection.
    #[error("no encrypted connection to {url}: {}", tls_advice(.source))]
    Tls {
        /// The address of the engine.
        url: String,
        /// The answer of the TLS library.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The answer did not arrive in time.
    #[error(
        "{url} had not answered in full after {}: give it more time with --timeout, or less to do with a shorter --range or --baseline, or \
         --match, asks for less",
        humantime::format_duration(*.after)
    )]
    Slow {
        /// The address of the query.
        url: String,
        /// The time limit.
        after: Duration,
    },
    /// The engine or a proxy refused the request.
    #[error("{url} answers with HTTP status {status}{}; {}", said(.message), advice(*.status))]
    Status {
        /// The address of the query.
        url: String,
        /// The status.
        status: u16,
        /// The message of the answer, if it has one.
        message: String,
    },
    /// The answer redirects to another address.
    #[error("{url} redirects to {to}; use that address, without /api/v1/query")]
    Redirected {
        /// The address of the query.
        url: String,
        /// The other address.
        to: String,
    },
    /// The engine understood the query, and failed.
    #[error("{url} could not answer: {message} ({kind}); the query was {query}")]
    Query {
        /// The address of the query.
        url: String,
        /// The engine's name for the kind of error.
        kind: String,
        /// The engine's message.
        message: String,
        /// The query, shortened if it is long.
        query: String,
    },
    /// The fleet has reached its limits.
    #[error("the answers of {url} exceed the limits of a fleet; select a part of it with --match")]
    Full {
        /// The address of the query.
        url: String,
        /// The limit that was reached.
        #[source]
        source: Full,
    },
    /// The answer is not one of the Prometheus API.
    #[error(
        "{url} returned data that is not an answer of the Prometheus API: is it the address of an engine, with the engine's path?"
    )]
    Rubbish {
        /// The address of the query.
        url: String,
        /// The position of the error.
        #[source]
        source: serde_json::Error,
    },
    /// The answer ended too early.
    #[error("the answer of {url} is truncated: was the engine, or a proxy before it, stopped?")]
    Cut {
        /// The address of the query.
        url: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The answer has a string that is longer than any label.
    #[error(
        "{url} returned a string of more than {limit} bytes: it is not an engine of the Prometheus kind, or has a fault"
    )]
    LongText {
        /// The address of the query.
        url: String,
        /// The most bytes of a string.
        limit: usize,
    },
    /// The answer exceeds the limit.
    #[error(
        "{url} returned more than {limit} bytes: select a part of the fleet with --match, or allow more with --max-answer"
    )]
    TooLarge {
        /// The address of the query.
        url: String,
        /// The most bytes of one answer.
        limit: u64,
    },
    /// The engine has no agents.
    #[error(
        "{url} has no agents: no series {START}{matchers} within {}; does it scrape `droptrace agent`?",
        humantime::format_duration(*.within)
    )]
    Nobody {
        /// The address of the query.
        url: String,
        /// The matchers of the query.
        matchers: String,
        /// The time span of the query.
        within: Duration,
    },
    /// Several series describe the same agent.
    #[error(
        "{url} has {series} series for the same agent, {agent}: its drops would count {series} times; have the engine \
         drop duplicates, choose one by --match, or tell agents apart by more labels with --identity"
    )]
    Ambiguous {
        /// The address of the query.
        url: String,
        /// Values of the labels that identify the agent.
        agent: String,
        /// Number of series at one time.
        series: u64,
    },
    /// A file of settings cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
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
        429 => "it has too many requests: try later, or reduce the work with a shorter --range or with --match",
        500..=599 => "its log may have the cause",
        _ => "is it the address of an engine?",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn tls_errors_have_specific_advice() {
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
