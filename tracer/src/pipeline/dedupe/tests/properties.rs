//! Property tests: two views of one true sequence of drops, which are delayed, out of order, lost or doubled, by clocks
//! that are set.

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
    site: u64,
    views: [View; 2],
}

/// The reports of one source about a drop.
#[derive(Clone, Debug)]
struct View {
    /// Delays of the reports. An empty list means that the report is lost; more than one delay, that the drop is
    /// reported again.
    delays_ns: Vec<u64>,
    /// Error of the source's clock.
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
        one.prop_map(|(after_ns, packet, site, ebpf, net_dm)| Truth { after_ns, packet, site, views: [ebpf, net_dm] }),
        0..120,
    )
}

/// An observation that arrives in userspace, with its time of arrival and the index of the true drop.
struct Report {
    arrives: u64,
    observation: Observation<u64>,
    truth: usize,
}

fn all_reports(truths: &[Truth], prints: &Fingerprinter) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut time = 10_000;
    for (index, truth) in truths.iter().enumerate() {
        time += truth.after_ns;
        for (origin, view) in [Ebpf, NetDm].into_iter().zip(&truth.views) {
            for delay in &view.delays_ns {
                let timestamp = time.saturating_add_signed(view.clock_ns);
                let mut observation = observation(prints, origin, timestamp, truth.packet, 0);
                observation.drop.pc = truth.site;
                let bytes = [truth.packet.to_be_bytes(); 8].concat();
                observation.print = prints.of(view.start, &bytes[..view.captured], 64);
                reports.push(Report { arrives: time + delay, observation, truth: index });
            }
        }
    }
    reports.sort_by_key(|report| report.arrives);
    for (index, report) in reports.iter_mut().enumerate() {
        report.observation.detail = index as u64;
    }
    reports
}

impl Desk {
    fn take_all(&mut self, reports: &[Report]) {
        for report in reports {
            self.take(report.arrives, report.observation);
        }
    }
}

fn details(seen_by: &SeenBy<u64>) -> Vec<u64> {
    match *seen_by {
        SeenBy::Both { ebpf, net_dm } => vec![ebpf, net_dm],
        SeenBy::Alone { detail, .. } => vec![detail],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// In every case each observation is returned once, each pair is one drop, the ledger is right, memory is bounded,
    /// and the result equals the plain model's.
    #[test]
    fn each_observation_is_returned_exactly_once(truths in truth(3, true), max in 1..40_usize, backwards: bool) {
        let mut desk = Desk::new(max);
        let mut model = Model::new(max);
        let reports = all_reports(&truths, &desk.prints);
        for (index, one) in reports.iter().enumerate() {
            // Time that goes backwards counts as standing still.
            let now = if backwards && index % 7 == 3 { one.arrives / 2 } else { one.arrives };
            desk.take(now, one.observation);
            model.report(now, one.observation);
            prop_assert!(desk.deduper.ledger().pending <= max as u64);
            prop_assert!(desk.deduper.bytes() <= Deduper::<u64>::max_bytes(max));
        }
        prop_assert_eq!(desk.seen_by(), model.seen_by);
        desk.flush();
        let mut seen: Vec<u64> = desk.seen_by().iter().flat_map(details).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..reports.len() as u64).collect::<Vec<_>>());
        for seen_by in desk.seen_by() {
            let SeenBy::Both { ebpf, net_dm } = seen_by else { continue };
            let [one, two] = [ebpf, net_dm].map(|detail| &reports[usize::try_from(detail).unwrap()]);
            let [truth, other] = [one, two].map(|report| &truths[report.truth]);
            prop_assert_eq!((one.observation.origin, two.observation.origin), (Ebpf, NetDm));
            prop_assert_eq!((truth.packet, truth.site), (other.packet, other.site));
            let [time, other] = [one, two].map(|report| report.observation.drop.timestamp.0);
            prop_assert!(time.abs_diff(other) <= APART);
            prop_assert!(backwards || one.arrives.abs_diff(two.arrives) <= WAIT);
        }
        let ledger = desk.deduper.ledger();
        let delivered = |origin| reports.iter().filter(|report| report.observation.origin == origin).count() as u64;
        prop_assert_eq!((ledger.ebpf.delivered, ledger.net_dm.delivered), (delivered(Ebpf), delivered(NetDm)));
    }

    /// Different packets are joined with themselves alone.
    #[test]
    fn different_packets_are_never_joined(mut truths in truth(1, true)) {
        for (index, truth) in truths.iter_mut().enumerate() {
            truth.packet = index as u64;
        }
        let mut desk = Desk::new(1000);
        let reports = all_reports(&truths, &desk.prints);
        desk.take_all(&reports);
        desk.flush();
        for seen_by in desk.seen_by() {
            let truth = |detail: &u64| reports[usize::try_from(*detail).unwrap()].truth;
            let of: HashSet<usize> = details(&seen_by).iter().map(truth).collect();
            prop_assert_eq!(of.len(), 1);
        }
    }

    /// When both sources report every drop in time, each drop is returned once, as seen by both, whatever the packets
    /// look like.
    #[test]
    fn drops_reported_in_time_are_seen_by_both(truths in truth(2, false)) {
        let mut desk = Desk::new(1000);
        let reports = all_reports(&truths, &desk.prints);
        desk.take_all(&reports);
        let mut by_site: HashMap<(u64, u64), usize> = HashMap::new();
        for truth in &truths {
            *by_site.entry((truth.packet, truth.site)).or_default() += 1;
        }
        let ledger = desk.deduper.ledger();
        let happened = truths.len() as u64;
        prop_assert_eq!((ledger.unique, ledger.duplicates, ledger.pending), (happened, happened, 0));
        for drop in &desk.settled {
            let SeenBy::Both { ebpf, .. } = drop.seen_by else { return Err(TestCaseError::fail("seen by one source only")) };
            let truth = &truths[reports[usize::try_from(ebpf).unwrap()].truth];
            *by_site.get_mut(&(truth.packet, truth.site)).unwrap() -= 1;
        }
        prop_assert!(by_site.values().all(|left| *left == 0));
    }

    /// When a source stops and comes back, the other source reports the drops that it missed, and both report all
    /// others.
    #[test]
    fn drops_during_a_sources_gap_are_seen_by_the_other(drops in 1..200_u64, gap in 0..200_u64, length in 0..200_u64) {
        let mut desk = Desk::new(1000);
        let away = gap..gap + length;
        for index in 0..drops {
            let time = index * 10;
            desk.report(time, Ebpf, time, 7, index);
            if !away.contains(&index) {
                desk.report(time + 3, NetDm, time, 7, index);
            }
        }
        desk.advance(1_000_000);
        let missed = (0..drops).filter(|index| away.contains(index)).count() as u64;
        let ledger = desk.deduper.ledger();
        prop_assert_eq!((ledger.unique + ledger.pending, ledger.ebpf.alone.expired), (drops, missed));
        prop_assert_eq!((ledger.net_dm.alone.total(), ledger.duplicates), (0, drops - missed));
    }
}
