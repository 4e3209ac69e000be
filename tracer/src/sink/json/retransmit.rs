//! Retransmissions in JSON: `droptrace.retransmission.v1`, and their part of totals and ledgers.

use serde::Serialize;

use super::{Shown, symbol_of};
use crate::domain::event::{Location, Reason, reason_name};
use crate::domain::retransmit::{Cause, Loss, RetransmitEvent, RetransmitLedger, RetransmitReport};
use crate::packet::Endpoint;
use crate::render::time::TimeText;

/// One retransmission.
#[derive(Serialize)]
pub(super) struct Line<'e> {
    schema: &'static str,
    timestamp: TimeText,
    source: Shown<Endpoint>,
    destination: Shown<Endpoint>,
    sequence: u32,
    length: u32,
    segments: u32,
    /// Null if no drop of these bytes is known on this host.
    after: Option<After<'e>>,
    /// Why it cannot be known whether there was one.
    undecided: Option<&'static str>,
}

#[derive(Serialize)]
struct After<'e> {
    #[serde(flatten)]
    site: Named<'e>,
    elapsed_ns: u64,
}

impl<'e> From<&'e Cause> for After<'e> {
    fn from(cause: &'e Cause) -> Self {
        let elapsed_ns = u64::try_from(cause.before.as_nanos()).unwrap_or(u64::MAX);
        Self { site: Named::new(&cause.reason, &cause.location), elapsed_ns }
    }
}

#[derive(Serialize)]
struct Named<'e> {
    reason: Option<&'e str>,
    subsystem: Option<&'e str>,
    symbol: Option<&'e str>,
    offset: Option<u64>,
    module: Option<&'e str>,
}

impl<'e> Named<'e> {
    fn new(reason: &'e Reason, location: &'e Location) -> Self {
        let name = reason_name(reason);
        let (symbol, offset, module) = symbol_of(location);
        Self { reason: name, subsystem: name.map(|_| &*reason.subsystem), symbol, offset, module }
    }
}

impl<'e> From<&'e RetransmitEvent> for Line<'e> {
    fn from(event: &'e RetransmitEvent) -> Self {
        let [source, destination] =
            [event.source, event.destination].map(|end| Shown(Endpoint { address: end.ip(), port: Some(end.port()) }));
        let (after, undecided) = match &event.loss {
            Loss::After(cause) => (Some(After::from(cause)), None),
            Loss::Unmatched => (None, None),
            Loss::Undecided(doubt) => (None, Some(doubt.name())),
        };
        Self {
            schema: "droptrace.retransmission.v1",
            timestamp: TimeText::new(event.timestamp),
            source,
            destination,
            sequence: event.sequence,
            length: event.length,
            segments: event.segments,
            after,
            undecided,
        }
    }
}

/// The account of retransmissions.
#[derive(Serialize)]
pub(super) struct Ledger {
    retransmissions: u64,
    segments: u64,
    joined: u64,
    unmatched: u64,
    undecided: u64,
    lost: u64,
    pending: i64,
    drops_lost: u64,
}

impl From<&RetransmitLedger> for Ledger {
    fn from(ledger: &RetransmitLedger) -> Self {
        let RetransmitLedger { retransmissions, segments, joined, unmatched, undecided, lost, drops_lost } = *ledger;
        Self { retransmissions, segments, joined, unmatched, undecided, lost, pending: ledger.pending(), drops_lost }
    }
}

/// Retransmissions and the drops that they followed.
#[derive(Serialize)]
pub(super) struct Retransmissions<'r> {
    ledger: Ledger,
    drops: Vec<FollowedRow<'r>>,
}

#[derive(Serialize)]
struct FollowedRow<'r> {
    #[serde(flatten)]
    site: Named<'r>,
    packets: u64,
    followed: u64,
    not_followed: u64,
    unknown: u64,
}

impl<'r> From<&'r RetransmitReport> for Retransmissions<'r> {
    fn from(report: &'r RetransmitReport) -> Self {
        let drops = report.sites.iter().map(|site| FollowedRow {
            site: Named::new(&site.reason, &site.location),
            packets: site.drops,
            followed: site.followed,
            not_followed: site.not_followed,
            unknown: site.unknown(),
        });
        Self { ledger: Ledger::from(&report.ledger), drops: drops.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{retransmission, retransmissions};

    #[test]
    fn a_retransmission_is_a_document() {
        let text = serde_json::to_string_pretty(&Line::from(&retransmission())).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn totals_have_the_drops_that_were_followed() {
        let text = serde_json::to_string_pretty(&Retransmissions::from(&retransmissions())).unwrap();
        insta::assert_snapshot!(text);
    }
}
