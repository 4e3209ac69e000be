//! Small scenes, one idea each.

use super::*;
use crate::domain::event::Origin::{Ebpf, NetDm};

#[test]
fn what_both_heard_is_told_once() {
    for (first, second) in [(Ebpf, NetDm), (NetDm, Ebpf)] {
        let mut desk = Desk::new(8);
        desk.hear(0, first, 100, 1, 1);
        assert_eq!(desk.heard(), []);
        desk.hear(500, second, 101, 1, 2);
        let expected = if first == Ebpf { both(1, 2) } else { both(2, 1) };
        assert_eq!(desk.heard(), [expected]);
        assert_eq!(desk.told[0].heard.by(), [Ebpf, NetDm]);
        // The kernel program's time, whichever came first.
        assert_eq!(desk.told[0].drop.timestamp.0, if first == Ebpf { 100 } else { 101 });
    }
}

#[test]
fn one_source_fills_the_others_gaps() {
    let mut desk = Desk::new(8);
    let mut ebpf = heard(&desk.prints, Ebpf, 100, 1, 1);
    ebpf.drop.netns = 7;
    let mut net_dm = heard(&desk.prints, NetDm, 101, 1, 2);
    net_dm.drop.ifindex = 3;
    desk.take(0, ebpf);
    desk.take(0, net_dm);
    assert_eq!((desk.told[0].drop.netns, desk.told[0].drop.ifindex), (7, 3));
}

#[test]
fn each_part_of_the_identity_counts() {
    let change: [fn(&mut Observation<u64>); 3] =
        [|other| other.drop.pc += 1, |other| other.drop.reason += 1, |other| other.drop.length += 1];
    for change in change {
        let mut desk = Desk::new(8);
        let mut other = heard(&desk.prints, NetDm, 100, 1, 2);
        change(&mut other);
        desk.hear(0, Ebpf, 100, 1, 1);
        desk.take(0, other);
        desk.hear(0, NetDm, 100, 2, 3);
        assert_eq!(desk.deduper.ledger().pending, 3);
    }
}

#[test]
fn a_drop_that_the_other_does_not_tell_in_time_is_told_alone() {
    let mut desk = Desk::new(8);
    desk.hear(0, Ebpf, 100, 1, 1);
    desk.advance(WAIT);
    assert_eq!(desk.heard(), []);
    desk.advance(WAIT + 1);
    assert_eq!(desk.heard(), [alone(Ebpf, 1, AloneCause::Expired)]);
    // Too late: it is a drop of its own.
    desk.hear(WAIT + 2, NetDm, 100, 1, 2);
    desk.advance(3 * WAIT);
    assert_eq!(desk.heard()[1..], [alone(NetDm, 2, AloneCause::Expired)]);
}

#[test]
fn packets_that_look_alike_are_paired_in_order() {
    let mut desk = Desk::new(16);
    // Even all at the same nanosecond.
    (1..=5).for_each(|detail| desk.hear(0, Ebpf, 100, 1, detail));
    (11..=13).for_each(|detail| desk.hear(1, NetDm, 100, 1, detail));
    desk.flush();
    let flushed = |detail| alone(Ebpf, detail, AloneCause::Flushed);
    assert_eq!(desk.heard(), [both(1, 11), both(2, 12), both(3, 13), flushed(4), flushed(5)]);
}

#[test]
fn beyond_the_bound_the_oldest_is_told() {
    let mut desk = Desk::new(2);
    (1..=4).for_each(|packet| desk.hear(packet, Ebpf, 100, packet, packet));
    assert_eq!(desk.heard(), [alone(Ebpf, 1, AloneCause::Evicted), alone(Ebpf, 2, AloneCause::Evicted)]);
    desk.hear(5, NetDm, 100, 4, 5);
    assert_eq!(desk.heard()[2..], [both(4, 5)]);
    // The one that has to go may look like the one that came.
    let mut desk = Desk::new(1);
    (1..=3).for_each(|detail| desk.hear(0, Ebpf, 100, 9, detail));
    desk.hear(0, NetDm, 100, 9, 4);
    assert_eq!(desk.heard()[2..], [both(3, 4)]);
}

#[test]
fn no_room_at_all_is_room_for_one() {
    let mut desk = Desk::new(0);
    desk.hear(0, Ebpf, 100, 1, 1);
    desk.hear(0, NetDm, 100, 1, 2);
    assert_eq!(desk.heard(), [both(1, 2)]);
}

#[test]
fn times_too_far_apart_are_not_one_drop() {
    // Real time was set forward, then back: the older one is given up.
    for step in [1, -1_i64] {
        let mut desk = Desk::new(8);
        let (before, after) = (10_000, 10_000_u64.saturating_add_signed(step * (APART.cast_signed() + 1)));
        desk.hear(0, Ebpf, before, 1, 1);
        desk.hear(1, NetDm, after, 1, 2);
        let expected = if step > 0 { (Ebpf, 1) } else { (NetDm, 2) };
        assert_eq!(desk.heard(), [alone(expected.0, expected.1, AloneCause::Apart)]);
        assert_eq!(desk.deduper.ledger().pending, 1);
        // Once both clocks are one again, drops are joined as before.
        let second = if step > 0 { (Ebpf, after) } else { (NetDm, before) };
        desk.hear(2, second.0, second.1, 1, 3);
        assert_eq!(desk.heard()[1].by(), [Ebpf, NetDm]);
    }
}

#[test]
fn the_farthest_times_are_survived() {
    let mut desk = Desk::new(8);
    for (detail, timestamp) in [0, u64::MAX, 5, u64::MAX - 1].into_iter().enumerate() {
        desk.hear(u64::MAX, if detail % 2 == 0 { Ebpf } else { NetDm }, timestamp, 1, detail as u64);
    }
    desk.hear(0, Ebpf, 5, 1, 9);
    desk.advance(u64::MAX);
    desk.flush();
    assert_eq!(desk.told.len(), 5);
}

#[test]
fn what_the_other_cannot_hear_is_told_at_once() {
    let mut desk = Desk::new(8);
    for why in [Unpairable::NoMacHeader, Unpairable::TooFewBytes] {
        let observation = heard(&desk.prints, Ebpf, 100, 1, 1);
        desk.take(0, Observation { print: Err(why), ..observation });
    }
    let expected = [AloneCause::NoMacHeader, AloneCause::TooFewBytes].map(|cause| alone(Ebpf, 1, cause));
    assert_eq!(desk.heard(), expected);
    let alone = desk.deduper.ledger().ebpf.alone;
    assert_eq!((alone.no_mac_header, alone.too_few_bytes), (1, 1));
}

#[test]
fn while_one_source_is_away_the_other_does_not_wait() {
    let mut desk = Desk::new(8);
    desk.hear(0, NetDm, 100, 1, 1);
    desk.deduper.set_listening(NetDm, false);
    // What it had told is still joined.
    desk.hear(1, Ebpf, 100, 1, 2);
    desk.hear(2, Ebpf, 100, 2, 3);
    desk.deduper.set_listening(NetDm, true);
    desk.hear(3, Ebpf, 100, 3, 4);
    desk.hear(4, NetDm, 100, 3, 5);
    assert_eq!(desk.heard(), [both(2, 1), alone(Ebpf, 3, AloneCause::Unaccompanied), both(4, 5)]);
}
