use std::sync::Arc;
use std::time::Duration;

use crate::domain::event::{Location, NamedKey};
use crate::domain::retransmit::{Cause, Doubt, Loss};

use super::join::{Counts, Join, SentAgain, SiteCounts, SiteReason};
use super::{Range, Tuple};

const MS: u64 = 1_000_000;

fn site(address: u64) -> SiteReason {
    (Arc::new(Location { address, symbol: None, trap_group: None }), NamedKey::default().reason)
}

fn tuple(port: u16) -> Tuple {
    Tuple { source: ([10, 0, 0, 1], port).into(), destination: ([10, 0, 0, 2], 80).into() }
}

fn range(start: u32, length: u32) -> Range {
    Range::new(start, length).unwrap()
}

fn sent(port: u16, range: Range, at_ms: u64) -> SentAgain {
    SentAgain { tuple: tuple(port), range, netns: 7, began_ns: at_ms * MS }
}

fn counts(join: &Join, address: u64) -> (u64, u64) {
    let found = join.sites().into_iter().find(|(known, _)| known.0.address == address).map(|(_, of)| of);
    let SiteCounts { followed, not_followed } = found.unwrap_or_default();
    (followed, not_followed)
}

fn after(address: u64, ms: u64) -> Loss {
    Loss::After(Cause { before: Duration::from_millis(ms), ..cause(address) })
}

fn cause(address: u64) -> Cause {
    let (location, reason) = site(address);
    Cause { reason, location, before: Duration::ZERO }
}

fn is_after(loss: &Loss) -> bool {
    matches!(loss, Loss::After(_))
}

#[test]
fn a_retransmission_follows_the_drop_of_its_bytes() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(1000, 100)), 10 * MS);
    assert_eq!(join.sent_again(&sent(5, range(900, 100), 20)), Loss::Unmatched, "the bytes before");
    assert_eq!(join.sent_again(&sent(6, range(1000, 100), 20)), Loss::Unmatched, "another connection");
    assert_eq!(join.sent_again(&sent(5, range(1000, 100), 20)), after(1, 10));
    assert_eq!(join.sent_again(&sent(5, range(1000, 100), 30)), Loss::Unmatched, "nothing was dropped since");
    assert_eq!((join.counts(), counts(&join, 1)), (Counts { joined: 1, unmatched: 3, undecided: 0 }, (1, 0)));
}

#[test]
fn the_other_direction_is_another_flow() {
    let mut join = Join::default();
    let Tuple { source, destination } = tuple(5);
    join.dropped(site(1), (Tuple { source: destination, destination: source }, range(1, 9)), 0);
    assert_eq!(join.sent_again(&sent(5, range(1, 9), 20)), Loss::Unmatched);
    assert_eq!(counts(&join, 1), (0, 0), "the sender is not known to be here");
}

#[test]
fn a_large_buffer_is_sent_again_in_parts() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(u32::MAX - 500, 3000)), 0);
    for part in [0, 2, 1] {
        let part = range((u32::MAX - 500).wrapping_add(part * 1000), 1000);
        assert!(is_after(&join.sent_again(&sent(5, part, 5))));
    }
    assert_eq!(join.sent_again(&sent(5, range(u32::MAX - 500, 3000), 5)), Loss::Unmatched);
    assert_eq!(
        (join.counts(), counts(&join, 1)),
        (Counts { joined: 3, unmatched: 1, undecided: 0 }, (1, 0)),
        "one drop, three retransmissions"
    );
}

#[test]
fn one_retransmission_can_follow_several_drops() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(0, 1000)), MS);
    join.dropped(site(2), (tuple(5), range(1000, 1000)), 2 * MS);
    assert_eq!(join.sent_again(&sent(5, range(500, 1000), 3)), after(2, 1));
    assert_eq!((counts(&join, 1), counts(&join, 2)), ((1, 0), (1, 0)));
}

/// A retransmission can be dropped before the kernel reports that it was sent.
#[test]
fn the_drop_of_the_retransmission_itself_is_not_its_cause() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(0, 100)), 10 * MS);
    join.dropped(site(2), (tuple(5), range(0, 100)), 210 * MS + 9);
    assert_eq!(join.sent_again(&sent(5, range(0, 100), 210)), after(1, 200));
    assert_eq!(counts(&join, 2), (0, 1));
    assert_eq!(
        join.sent_again(&sent(5, range(0, 100), 610)),
        Loss::After(Cause { before: Duration::from_nanos(400 * MS - 9), ..cause(2) })
    );
}

#[test]
fn a_drop_is_too_old_after_the_longest_timeout() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(0, 100)), 0);
    assert_eq!(join.sent_again(&sent(5, range(0, 100), 120_001)), Loss::Unmatched);
    assert!(is_after(&join.sent_again(&sent(5, range(0, 100), 120_000))));
}

#[test]
fn a_connection_in_two_namespaces_is_not_joined() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(0, 100)), 0);
    let elsewhere = SentAgain { netns: 8, ..sent(5, range(5000, 100), 5) };
    assert_eq!(join.sent_again(&elsewhere), Loss::Unmatched);
    assert_eq!(counts(&join, 1), (0, 1));
    assert_eq!(join.sent_again(&sent(5, range(0, 100), 10)), Loss::Undecided(Doubt::TwoNamespaces));
    let expected = Counts { joined: 0, unmatched: 1, undecided: 1 };
    assert_eq!((join.counts(), counts(&join, 1)), (expected, (0, 0)), "of which sender is unknown");
}

/// The clock of the socket can be old: then the cause has the same order as the drop of what was sent again.
#[test]
fn a_drop_that_is_not_older_than_the_sending_is_a_doubt() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(0, 100)), 10 * MS);
    assert_eq!(join.sent_again(&sent(5, range(100, 100), 10)), Loss::Unmatched, "other bytes");
    assert_eq!(join.sent_again(&sent(5, range(50, 100), 10)), Loss::Undecided(Doubt::DroppedWhileSending));
    assert_eq!(join.counts(), Counts { joined: 0, unmatched: 1, undecided: 1 });
    assert_eq!(counts(&join, 1), (0, 0), "it is not known whether the bytes were sent again afterwards");
    assert!(is_after(&join.sent_again(&sent(5, range(0, 100), 11))));
    assert_eq!(counts(&join, 1), (1, 0));
}

#[test]
fn drops_without_a_known_sender_are_unknown() {
    let mut join = Join::default();
    join.dropped(site(1), (tuple(5), range(0, 100)), 0);
    join.dropped(site(1), (tuple(5), range(100, 100)), 0);
    assert_eq!(counts(&join, 1), (0, 0), "the sender may be on another host, or behind a translation of addresses");
    assert!(is_after(&join.sent_again(&sent(5, range(0, 100), 5))));
    assert_eq!(counts(&join, 1), (1, 1));
}

#[test]
fn the_oldest_drops_make_room() {
    let mut join = Join::default();
    let most = u32::try_from(Join::MOST_OF_FLOW).unwrap();
    for at in 0..most + 3 {
        join.dropped(site(1), (tuple(5), range(at * 10, 10)), 0);
    }
    assert_eq!(join.sent_again(&sent(5, range(20, 10), 5)), Loss::Undecided(Doubt::Forgotten));
    assert_eq!(join.sent_again(&sent(5, range(20, 10), 120_001)), Loss::Unmatched, "long after");
    assert_eq!(join.sent_again(&sent(6, range(20, 10), 5)), Loss::Unmatched, "another flow");
    assert_eq!(counts(&join, 1), (0, u64::from(most)), "what leaves the table is unknown");
    assert!(is_after(&join.sent_again(&sent(5, range(30, 10), 5))));
    for at in 0..u32::try_from(Join::MOST).unwrap() {
        join.dropped(site(2), (tuple(u16::try_from(at % 60_000).unwrap() + 100), range(at, 10)), 0);
    }
    assert_eq!((counts(&join, 1), counts(&join, 2)), ((1, 0), (0, 0)));
    assert_eq!(join.sent_again(&sent(5, range(40, 10), 5)), Loss::Undecided(Doubt::Forgotten));
    assert_eq!(
        join.sent_again(&sent(7, range(40, 10), 5)),
        Loss::Undecided(Doubt::Forgotten),
        "its drops may have left, too"
    );
}
