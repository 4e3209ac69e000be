//! Retransmissions in a run: from the records of the BPF program to events and their account.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use tracer_common::{DroppedSegment, Retransmission, SegmentCounts};

use crate::backend::ebpf::{Segment, SegmentReader};
use crate::domain::event::{Kind, NamedKey, reason_name};
use crate::domain::retransmit::{DropsFollowed, Loss, RetransmitEvent, RetransmitLedger, RetransmitReport};
use crate::domain::total::DropTotal;
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::retransmit::{Counts, Join, SentAgain, SiteCounts, SiteReason, dropped, retransmitted};

/// Reasons that need not lose a segment: the receiver has its bytes, or another host is to get the packet. Kernels without
/// `TCP_OLD_SEQUENCE` use `TCP_INVALID_SEQUENCE` for bytes that the receiver has, too (`tcp_validate_incoming`).
const NOT_LOST: [&str; 5] = ["TCP_OLD_DATA", "TCP_OFOMERGE", "TCP_OLD_SEQUENCE", "TCP_INVALID_SEQUENCE", "OTHERHOST"];

/// The records, and their join.
pub(super) struct Retransmits {
    reader: SegmentReader,
    join: Join,
    /// Records that cannot be decoded, and retransmissions without a range of sequence numbers.
    undecodable: u64,
}

impl Retransmits {
    pub(super) fn new(reader: SegmentReader) -> Self {
        Self { reader, join: Join::default(), undecodable: 0 }
    }

    /// Waits until it is time to read.
    pub(super) async fn ready(&mut self) {
        self.reader.ready().await;
    }

    /// The next retransmission among the records that are there.
    pub(super) fn next(&mut self, normaliser: &mut Normaliser) -> Option<RetransmitEvent> {
        loop {
            match self.reader.read()? {
                Some(Segment::Dropped(record)) => self.take_drop(&record, normaliser),
                Some(Segment::Retransmitted(record)) => {
                    if let Some(event) = self.take_retransmission(&record, normaliser) {
                        return Some(event);
                    }
                }
                None => self.undecodable += 1,
            }
        }
    }

    fn take_drop(&mut self, record: &DroppedSegment, normaliser: &mut Normaliser) {
        let Some(segment) = dropped(record) else { return };
        let (reason, location) = normaliser.reason_and_site(&record.key);
        let is_packet = NamedKey::kind_of(Kind::Packet, record.key.ifindex, &location).is_packet();
        let is_lost = reason_name(&reason).is_none_or(|name| !NOT_LOST.contains(&name));
        if is_packet && is_lost {
            self.join.dropped((location, reason), segment, record.timestamp_ns);
        }
    }

    fn take_retransmission(&mut self, record: &Retransmission, normaliser: &Normaliser) -> Option<RetransmitEvent> {
        let Some((tuple, range)) = retransmitted(record) else {
            self.undecodable += 1;
            return None;
        };
        let sent = SentAgain { tuple, range, netns: record.netns, began_ns: record.began_ns };
        let sending = Duration::from_nanos(record.timestamp_ns.saturating_sub(record.began_ns));
        let mut loss = self.join.sent_again(&sent);
        if let Loss::After(cause) = &mut loss {
            cause.before += sending;
        }
        Some(RetransmitEvent {
            timestamp: normaliser.real_time(record.timestamp_ns),
            source: tuple.source,
            destination: tuple.destination,
            sequence: range.start,
            length: range.length,
            segments: record.segments,
            loss,
        })
    }

    /// The account of the records that were read, and of those that the BPF program counted.
    pub(super) fn ledger(&self, counts: SegmentCounts) -> RetransmitLedger {
        let Counts { joined, unmatched, undecided } = self.join.counts();
        RetransmitLedger {
            retransmissions: counts.retransmissions,
            segments: counts.segments,
            joined,
            unmatched,
            undecided,
            lost: counts.retransmissions_lost + self.undecodable,
            drops_lost: counts.drops_lost,
        }
    }

    /// The account, and the drops at each drop site with each reason.
    pub(super) fn report(&self, counts: SegmentCounts, drops: &[DropTotal]) -> RetransmitReport {
        let mut counted = HashMap::<SiteReason, u64, RandomState>::default();
        for total in drops.iter().filter(|total| total.key.kind.is_packet()) {
            *counted.entry((total.key.location.clone(), total.key.reason.clone())).or_default() += total.packets;
        }
        let known = self.join.sites();
        // A drop for whose row there was no room has a record, too.
        for (site, SiteCounts { followed, not_followed }) in &known {
            let drops = counted.entry(site.clone()).or_default();
            *drops = (*drops).max(followed + not_followed);
        }
        let of_site = |(site, drops): (SiteReason, u64)| {
            let known = known.get(&site).copied().unwrap_or_default();
            let (location, reason) = site;
            DropsFollowed { reason, location, drops, followed: known.followed, not_followed: known.not_followed }
        };
        let mut sites: Vec<_> = counted.into_iter().map(of_site).collect();
        sites.sort_by(|one, other| {
            let by_drops = other.followed.cmp(&one.followed).then(other.drops.cmp(&one.drops));
            by_drops.then(one.location.address.cmp(&other.location.address))
        });
        RetransmitReport { ledger: self.ledger(counts), sites }
    }
}
