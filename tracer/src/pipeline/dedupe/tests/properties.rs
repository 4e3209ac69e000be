//! Two views of one true sequence of drops: delayed, out of order, lost, doubled, by clocks that are set.

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Model;
use super::*;
use crate::domain::event::Origin::{Ebpf, NetDm};
use crate::domain::event::PacketStart;

/// A drop that truly happened.
#[derive(Clone, Debug)]
struct Truth {
    after_ns: u64,
    packet: u64,
    place: u64,
    views: [View; 2],
}

/// How one source tells of it.
#[derive(Clone, Debug)]
struct View {
    /// None: lost. More than one: told again.
    delays_ns: Vec<u64>,
    /// How wrong its clock is.
    clock_ns: i64,
    captured: usize,
    start: PacketStart,
}

fn view(hostile: bool) -> impl Strategy<Value = View> {
    let clock = if hostile { prop_oneof![4 => Just(0), 1 => -3000..3000_i64].boxed() } else { Just(0).boxed() };
    let times = if hostile { 0..3_usize } else { 1..2 };
    let delay = if hostile { 0..2 * WAIT } else { 0..WAIT };
    let start = prop_oneof![9 => Just(MAC), 1 => Just(PacketStart::Network)];
    let start = if hostile { start.boxed() } else { Just(MAC).boxed() };
    let captured = if hostile { 40..64_usize } else { PREFIX..64 };
    (vec(delay, times), clock, captured, start).prop_map(|(delays_ns, clock_ns, captured, start)| View {
        delays_ns,
        clock_ns,
        captured,
        start,
    })
}

fn truth(packets: u64, hostile: bool) -> impl Strategy<Value = Vec<Truth>> {
    let one = (0..400_u64, 0..packets, 0..2_u64, view(hostile), view(hostile));
    vec(
        one.prop_map(|(after_ns, packet, place, ebpf, net_dm)| Truth {
            after_ns,
            packet,
            place,
            views: [ebpf, net_dm],
        }),
        0..120,
    )
}

/// What userspace hears, in order of arrival: when, what, and of which drop.
struct Told {
    arrives: u64,
    observation: Observation<u64>,
    truth: usize,
}

fn listen(truths: &[Truth], prints: &Fingerprinter) -> Vec<Told> {
    let mut told = Vec::new();
    let mut time = 10_000;
    for (index, truth) in truths.iter().enumerate() {
        time += truth.after_ns;
        for (origin, view) in [Ebpf, NetDm].into_iter().zip(&truth.views) {
            for delay in &view.delays_ns {
                let timestamp = time.saturating_add_signed(view.clock_ns);
                let mut observation = heard(prints, origin, timestamp, truth.packet, 0);
                observation.drop.pc = truth.place;
                let bytes = [truth.packet.to_be_bytes(); 8].concat();
                observation.print = prints.of(view.start, &bytes[..view.captured], 64);
                told.push(Told { arrives: time + delay, observation, truth: index });
            }
        }
    }
    told.sort_by_key(|told| told.arrives);
    for (index, told) in told.iter_mut().enumerate() {
        told.observation.detail = index as u64;
    }
    told
}

impl Desk {
    fn take_all(&mut self, told: &[Told]) {
        for told in told {
            self.take(told.arrives, told.observation);
        }
    }
}

fn details(heard: &Heard<u64>) -> Vec<u64> {
    match *heard {
        Heard::Both { ebpf, net_dm } => vec![ebpf, net_dm],
        Heard::Alone { detail, .. } => vec![detail],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens: each observation is told once, each pair is one, the account is right, memory is bounded, and
    /// all is as the plain model has it.
    #[test]
    fn nothing_is_told_twice_or_kept_back(truths in truth(3, true), max in 1..40_usize, backwards: bool) {
        let mut desk = Desk::new(max);
        let mut model = Model::new(max);
        let told = listen(&truths, &desk.prints);
        for (index, one) in told.iter().enumerate() {
            // Time that goes backwards counts as standing still.
            let now = if backwards && index % 7 == 3 { one.arrives / 2 } else { one.arrives };
            desk.take(now, one.observation);
            model.hear(now, one.observation);
            prop_assert!(desk.deduper.ledger().pending <= max as u64);
            prop_assert!(desk.deduper.bytes() <= Deduper::<u64>::max_bytes(max));
        }
        prop_assert_eq!(desk.heard(), model.told);
        desk.flush();
        let mut seen: Vec<u64> = desk.heard().iter().flat_map(details).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..told.len() as u64).collect::<Vec<_>>());
        for heard in desk.heard() {
            let Heard::Both { ebpf, net_dm } = heard else { continue };
            let [one, two] = [ebpf, net_dm].map(|detail| &told[usize::try_from(detail).unwrap()]);
            let [truth, other] = [one, two].map(|told| &truths[told.truth]);
            prop_assert_eq!((one.observation.origin, two.observation.origin), (Ebpf, NetDm));
            prop_assert_eq!((truth.packet, truth.place), (other.packet, other.place));
            let [time, other] = [one, two].map(|told| told.observation.drop.timestamp.0);
            prop_assert!(time.abs_diff(other) <= APART);
            prop_assert!(backwards || one.arrives.abs_diff(two.arrives) <= WAIT);
        }
        let ledger = desk.deduper.ledger();
        let delivered = |origin| told.iter().filter(|told| told.observation.origin == origin).count() as u64;
        prop_assert_eq!((ledger.ebpf.delivered, ledger.net_dm.delivered), (delivered(Ebpf), delivered(NetDm)));
    }

    /// Packets that differ are joined with themselves alone.
    #[test]
    fn every_match_is_true_when_packets_differ(mut truths in truth(1, true)) {
        for (index, truth) in truths.iter_mut().enumerate() {
            truth.packet = index as u64;
        }
        let mut desk = Desk::new(1000);
        let told = listen(&truths, &desk.prints);
        desk.take_all(&told);
        desk.flush();
        for heard in desk.heard() {
            let truth = |detail: &u64| told[usize::try_from(*detail).unwrap()].truth;
            let of: HashSet<usize> = details(&heard).iter().map(truth).collect();
            prop_assert_eq!(of.len(), 1);
        }
    }

    /// When both sources tell of every drop in time, each drop is told once, as heard by both, however they look.
    #[test]
    fn what_both_hear_in_time_is_told_once(truths in truth(2, false)) {
        let mut desk = Desk::new(1000);
        let told = listen(&truths, &desk.prints);
        desk.take_all(&told);
        let mut by_place: HashMap<(u64, u64), usize> = HashMap::new();
        for truth in &truths {
*by_place.entry((truth.packet, truth.place)).or_default() += 1;
}
        let ledger = desk.deduper.ledger();
        let happened = truths.len() as u64;
        prop_assert_eq!((ledger.unique, ledger.duplicates, ledger.pending), (happened, happened, 0));
        for drop in &desk.told {
            let Heard::Both { ebpf, .. } = drop.heard else { return Err(TestCaseError::fail("told alone")) };
            let truth = &truths[told[usize::try_from(ebpf).unwrap()].truth];
            *by_place.get_mut(&(truth.packet, truth.place)).unwrap() -= 1;
        }
        prop_assert!(by_place.values().all(|left| *left == 0));
    }

    /// A source that stops and comes back: what it missed is told by the other, all else by both.
    #[test]
    fn a_source_may_stop_and_come_back(drops in 1..200_u64, gap in 0..200_u64, length in 0..200_u64) {
        let mut desk = Desk::new(1000);
        let away = gap..gap + length;
        for index in 0..drops {
            let time = index * 10;
            desk.hear(time, Ebpf, time, 7, index);
            if !away.contains(&index) {
                desk.hear(time + 3, NetDm, time, 7, index);
            }
        }
        desk.advance(1_000_000);
        let missed = (0..drops).filter(|index| away.contains(index)).count() as u64;
        let ledger = desk.deduper.ledger();
        prop_assert_eq!((ledger.unique + ledger.pending, ledger.ebpf.alone.expired), (drops, missed));
        prop_assert_eq!((ledger.net_dm.alone.total(), ledger.duplicates), (0, drops - missed));
    }
}
