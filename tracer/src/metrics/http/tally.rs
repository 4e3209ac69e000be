//! What was served, and what was refused for which cause.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::figures::{Family, Kind, Sample};

/// Why a connection or a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The system had no room for it.
    Accept,
    /// There was no room and none to give way, or its source had more than the one that came for its place.
    Connections,
    /// It had sent no request that is granted when another one came for its place.
    Idle,
    /// The request or the reading of the answer took too long.
    Slow,
    /// Too long a request, or one with a body.
    TooLarge,
    /// No HTTP.
    Malformed,
    /// No TLS, or without the certificate that is asked for.
    Tls,
    /// A name or a password that is not right, or none.
    Credentials,
    /// Neither GET nor HEAD.
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

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Tally {
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

    /// As figures.
    pub fn families(&self) -> [Family; 2] {
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
