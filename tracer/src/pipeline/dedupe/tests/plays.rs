//! Small scenes, each about one rule.

use super::*;
use crate::domain::event::Origin::{Ebpf, NetDm};

#[test]
fn drops_seen_by_both_are_returned_once() {
    for (first, second) in [(Ebpf, NetDm), (NetDm, Ebpf)] {
        let mut desk = Desk::new(8);
        desk.report(0, first, 100, 1, 1);
        assert_eq!(desk.seen_by(), []);
        desk.report(500, second, 101, 1, 2);
        let expected = if first == Ebpf { both(1, 2) } else { both(2, 1) };
        assert_eq!(desk.seen_by(), [expected]);
        assert_eq!(desk.settled[0].seen_by.origins(), [Ebpf, NetDm]);
        // The time is the kernel program's, whichever observation came first.
        assert_eq!(desk.settled[0].drop.timestamp.0, if first == Ebpf { 100 } else { 101 });
    }
}

#[test]
fn net_dm_facts_fill_gaps_of_ebpf_facts() {
    let mut desk = Desk::new(8);
    let mut ebpf = observation(&desk.prints, Ebpf, 100, 1, 1);
    ebpf.drop.netns = 7;
    let mut net_dm = observation(&desk.prints, NetDm, 101, 1, 2);
    net_dm.drop.ifindex = 3;
    desk.take(0, ebpf);
    desk.take(0, net_dm);
    assert_eq!((desk.settled[0].drop.netns, desk.settled[0].drop.ifindex), (7, 3));
}

#[test]
fn observations_with_another_site_reason_or_length_are_not_joined() {
    let change: [fn(&mut Observation<u64>); 3] =
        [|other| other.drop.pc += 1, |other| other.drop.reason += 1, |other| other.drop.length += 1];
    for change in change {
        let mut desk = Desk::new(8);
        let mut other = observation(&desk.prints, NetDm, 100, 1, 2);
        change(&mut other);
        desk.report(0, Ebpf, 100, 1, 1);
        desk.take(0, other);
        desk.report(0, NetDm, 100, 2, 3);
        assert_eq!(desk.deduper.ledger().pending, 3);
    }
}

#[test]
fn drops_without_a_partner_in_time_are_seen_by_one() {
    let mut desk = Desk::new(8);
    desk.report(0, Ebpf, 100, 1, 1);
    desk.advance(WAIT);
    assert_eq!(desk.seen_by(), []);
    desk.advance(WAIT + 1);
    assert_eq!(desk.seen_by(), [alone(Ebpf, 1, AloneCause::Expired)]);
    // The observation comes too late: it is a drop of its own.
    desk.report(WAIT + 2, NetDm, 100, 1, 2);
    desk.advance(3 * WAIT);
    assert_eq!(desk.seen_by()[1..], [alone(NetDm, 2, AloneCause::Expired)]);
}

#[test]
fn identical_packets_are_joined_in_order() {
    let mut desk = Desk::new(16);
    // The rule holds even when all times are the same nanosecond.
    (1..=5).for_each(|detail| desk.report(0, Ebpf, 100, 1, detail));
    (11..=13).for_each(|detail| desk.report(1, NetDm, 100, 1, detail));
    desk.flush();
    let flushed = |detail| alone(Ebpf, detail, AloneCause::Flushed);
    assert_eq!(desk.seen_by(), [both(1, 11), both(2, 12), both(3, 13), flushed(4), flushed(5)]);
}

#[test]
fn oldest_observation_is_evicted_beyond_max_pending() {
    let mut desk = Desk::new(2);
    (1..=4).for_each(|packet| desk.report(packet, Ebpf, 100, packet, packet));
    assert_eq!(desk.seen_by(), [alone(Ebpf, 1, AloneCause::Evicted), alone(Ebpf, 2, AloneCause::Evicted)]);
    desk.report(5, NetDm, 100, 4, 5);
    assert_eq!(desk.seen_by()[2..], [both(4, 5)]);
    // The observation that is removed may look like the one that came.
    let mut desk = Desk::new(1);
    (1..=3).for_each(|detail| desk.report(0, Ebpf, 100, 9, detail));
    desk.report(0, NetDm, 100, 9, 4);
    assert_eq!(desk.seen_by()[2..], [both(3, 4)]);
}

#[test]
fn max_pending_of_zero_holds_one_observation() {
    let mut desk = Desk::new(0);
    desk.report(0, Ebpf, 100, 1, 1);
    desk.report(0, NetDm, 100, 1, 2);
    assert_eq!(desk.seen_by(), [both(1, 2)]);
}

#[test]
fn observations_too_far_apart_in_time_are_not_joined() {
    // Real time was set forward, then back: the deduper gives up the older observation.
    for step in [1, -1_i64] {
        let mut desk = Desk::new(8);
        let (before, after) = (10_000, 10_000_u64.saturating_add_signed(step * (APART.cast_signed() + 1)));
        desk.report(0, Ebpf, before, 1, 1);
        desk.report(1, NetDm, after, 1, 2);
        let expected = if step > 0 { (Ebpf, 1) } else { (NetDm, 2) };
        assert_eq!(desk.seen_by(), [alone(expected.0, expected.1, AloneCause::Apart)]);
        assert_eq!(desk.deduper.ledger().pending, 1);
        // Once both clocks agree again, drops are joined as before.
        let second = if step > 0 { (Ebpf, after) } else { (NetDm, before) };
        desk.report(2, second.0, second.1, 1, 3);
        assert_eq!(desk.seen_by()[1].origins(), [Ebpf, NetDm]);
    }
}

#[test]
fn extreme_timestamps_do_not_overflow() {
    let mut desk = Desk::new(8);
    for (detail, timestamp) in [0, u64::MAX, 5, u64::MAX - 1].into_iter().enumerate() {
        desk.report(u64::MAX, if detail % 2 == 0 { Ebpf } else { NetDm }, timestamp, 1, detail as u64);
    }
    desk.report(0, Ebpf, 5, 1, 9);
    desk.advance(u64::MAX);
    desk.flush();
    assert_eq!(desk.settled.len(), 5);
}

#[test]
fn unpairable_observations_do_not_wait() {
    let mut desk = Desk::new(8);
    for why in [Unpairable::NoMacHeader, Unpairable::TooFewBytes] {
        let observation = observation(&desk.prints, Ebpf, 100, 1, 1);
        desk.take(0, Observation { print: Err(why), ..observation });
    }
    let expected = [AloneCause::NoMacHeader, AloneCause::TooFewBytes].map(|cause| alone(Ebpf, 1, cause));
    assert_eq!(desk.seen_by(), expected);
    let alone = desk.deduper.ledger().ebpf.alone;
    assert_eq!((alone.no_mac_header, alone.too_few_bytes), (1, 1));
}
