//! Counts answered requests, and rejected ones by cause.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::model::{Family, Kind, Sample};

/// The cause of a rejected connection or request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The system had no room for the connection.
    Accept,
    /// The limit was reached and no connection could be closed, or the connection's client had more connections than
    /// the new one's.
    Connections,
    /// The connection had sent no valid request when it was closed for a new one.
    Idle,
    /// The request or the reading of the answer took too long.
    Slow,
    /// The request was too long, or had a body.
    TooLarge,
    /// The data was not HTTP.
    Malformed,
    /// The data was not TLS, or the client had no certificate although one is required.
    Tls,
    /// The user name or the password was wrong or absent.
    Credentials,
    /// The method was neither GET nor HEAD.
    Method,
}

impl Cause {
    const ALL: [(Self, &str); 9] = [
        (Self::Accept, "accept"),
        (Self::Connections, "connections"),
        (Self::Idle, "idle"),
        (Self::Slow, "slow"),
        (Self::TooLarge, "too_large"),
        (Self::Malformed, "malformed"),
        (Self::Tls, "tls"),
        (Self::Credentials, "credentials"),
        (Self::Method, "method"),
    ];
}

/// The counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    scrapes: AtomicU64,
    refused: [AtomicU64; Cause::ALL.len()],
}

impl Tally {
    pub(super) fn scraped(&self) {
        self.scrapes.fetch_add(1, Relaxed);
    }

    pub(super) fn refuse(&self, cause: Cause) {
        self.refused[cause as usize].fetch_add(1, Relaxed);
    }

    /// The counts as metrics.
    pub(crate) fn families(&self) -> [Family; 2] {
        let refused = Cause::ALL.iter().zip(&self.refused);
        let refused = refused.map(|((_, name), count)| Sample::new([("cause", name)], count.load(Relaxed)));
        [
            Family {
                name: "droptrace_scrapes",
                help: "Scrapes that were answered",
                unit: None,
                kind: Kind::Counter,
                samples: vec![Sample::new([], self.scrapes.load(Relaxed))],
            },
            Family {
                name: "droptrace_http_refused",
                help: "Connections and requests that were refused or cut, by cause",
                unit: None,
                kind: Kind::Counter,
                samples: refused.collect(),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_count() {
        let tally = Tally::default();
        for (times, (cause, _)) in (1..).zip(Cause::ALL) {
            (0..times).for_each(|_| tally.refuse(cause));
        }
        let [_, refused] = tally.families();
        let expected = (1_u64..).zip(Cause::ALL).map(|(times, (_, name))| Sample::new([("cause", name)], times));
        assert_eq!(refused.samples, expected.collect::<Vec<_>>());
    }
}
