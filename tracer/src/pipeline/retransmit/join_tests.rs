use std::sync::Arc;
use std::time::Duration;

use crate::domain::event::{Location, NamedKey};

use super::join::{Join, OfPlace, Place, SentAgain};
use super::{Range, Tuple};

const MS: u64 = 1_000_000;

fn place(address: u64) -> Place {
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
    let found = join.places().find(|(known, _)| known.0.address == address).map(|(_, of)| *of);
    let OfPlace { followed, not_followed } = found.unwrap_or_default();
    (followed, not_followed)
}

#[test]
fn a_retransmission_follows_the_drop_of_its_bytes() {
    let mut join = Join::default();
    join.dropped(place(1), (tuple(5), range(1000, 100)), 10 * MS);
    assert_eq!(join.sent_again(&sent(5, range(900, 100), 20)), None, "the bytes before");
    assert_eq!(join.sent_again(&sent(6, range(1000, 100), 20)), None, "another connection");
    assert_eq!(join.sent_again(&sent(5, range(1000, 100), 20)), Some((place(1), Duration::from_millis(10))));
    assert_eq!(join.sent_again(&sent(5, range(1000, 100), 30)), None, "nothing was dropped since");
    assert_eq!((join.counts(), counts(&join, 1)), ((1, 3), (1, 0)));
}

#[test]
fn the_other_direction_is_another_flow() {
    let mut join = Join::default();
    let Tuple { source, destination } = tuple(5);
    join.dropped(place(1), (Tuple { source: destination, destination: source }, range(1, 9)), 0);
    assert_eq!(join.sent_again(&sent(5, range(1, 9), 20)), None);
    assert_eq!(counts(&join, 1), (0, 1));
}

#[test]
fn a_large_buffer_is_sent_again_in_parts() {
    let mut join = Join::default();
    join.dropped(place(1), (tuple(5), range(u32::MAX - 500, 3000)), 0);
    for part in [0, 2, 1] {
        let part = range((u32::MAX - 500).wrapping_add(part * 1000), 1000);
        assert!(join.sent_again(&sent(5, part, 5)).is_some());
    }
    assert_eq!(join.sent_again(&sent(5, range(u32::MAX - 500, 3000), 5)), None);
    assert_eq!((join.counts(), counts(&join, 1)), ((3, 1), (1, 0)), "one drop, three retransmissions");
}

#[test]
fn one_retransmission_can_follow_several_drops() {
    let mut join = Join::default();
    join.dropped(place(1), (tuple(5), range(0, 1000)), MS);
    join.dropped(place(2), (tuple(5), range(1000, 1000)), 2 * MS);
    assert_eq!(join.sent_again(&sent(5, range(500, 1000), 3)), Some((place(2), Duration::from_millis(1))));
    assert_eq!((counts(&join, 1), counts(&join, 2)), ((1, 0), (1, 0)));
}

/// A retransmission can be dropped before the kernel reports that it was sent.
#[test]
fn the_drop_of_the_retransmission_itself_is_not_its_cause() {
    let mut join = Join::default();
    join.dropped(place(1), (tuple(5), range(0, 100)), 10 * MS);
    join.dropped(place(2), (tuple(5), range(0, 100)), 210 * MS + 9);
    assert_eq!(join.sent_again(&sent(5, range(0, 100), 210)), Some((place(1), Duration::from_millis(200))));
    assert_eq!(counts(&join, 2), (0, 1));
    assert_eq!(join.sent_again(&sent(5, range(0, 100), 610)).unwrap().0, place(2));
}

#[test]
fn a_drop_is_too_old_after_the_longest_timeout() {
    let mut join = Join::default();
    join.dropped(place(1), (tuple(5), range(0, 100)), 0);
    assert_eq!(join.sent_again(&sent(5, range(0, 100), 120_001)), None);
    assert!(join.sent_again(&sent(5, range(0, 100), 120_000)).is_some());
}

#[test]
fn a_connection_in_two_namespaces_is_not_joined() {
    let mut join = Join::default();
    join.dropped(place(1), (tuple(5), range(0, 100)), 0);
    let elsewhere = SentAgain { netns: 8, ..sent(5, range(5000, 100), 5) };
    assert_eq!(join.sent_again(&elsewhere), None);
    assert_eq!(join.sent_again(&sent(5, range(0, 100), 10)), None);
    assert_eq!((join.counts(), counts(&join, 1)), ((0, 2), (0, 1)));
}

#[test]
fn the_oldest_drops_make_room() {
    let mut join = Join::default();
    let most = u32::try_from(Join::MOST_OF_FLOW).unwrap();
    for at in 0..most + 3 {
        join.dropped(place(1), (tuple(5), range(at * 10, 10)), 0);
    }
    assert_eq!(counts(&join, 1), (0, u64::from(most)), "what leaves the table is unknown");
    assert_eq!(join.sent_again(&sent(5, range(20, 10), 5)), None);
    assert!(join.sent_again(&sent(5, range(30, 10), 5)).is_some());
    for at in 0..u32::try_from(Join::MOST).unwrap() {
        join.dropped(place(2), (tuple(u16::try_from(at % 60_000).unwrap() + 100), range(at, 10)), 0);
    }
    assert_eq!((counts(&join, 1), counts(&join, 2)), ((1, 0), (0, Join::MOST as u64)));
}
