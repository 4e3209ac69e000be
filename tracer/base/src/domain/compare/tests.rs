use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// A drop site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
struct Site {
    pc: u64,
    reason: Option<u32>,
}

const SITE: Site = Site { pc: 0xffff_ffff_8204_5927, reason: Some(6) };
const OTHER: Site = Site { pc: 0xffff_ffff_8204_6000, reason: Some(7) };

fn counts(ebpf: u64, net_dm: u64) -> Counts {
    Counts { ebpf, net_dm, both: None }
}

fn one(ebpf: u64, net_dm: u64, evidence: &Evidence<Site>) -> (Row<Site>, Sums) {
    let mut comparison = compare([(SITE, counts(ebpf, net_dm))], evidence);
    (comparison.sites.remove(0), comparison.total)
}

fn at_site(known: SiteEvidence) -> Evidence<Site> {
    Evidence { sites: [(SITE, known)].into_iter().collect(), ..Evidence::default() }
}

fn parts(gap: &Gap) -> Vec<(Cause, u64)> {
    gap.explained.iter().map(|part| (part.cause, part.packets)).collect()
}

#[test]
fn counted_cause_explains_no_more_than_its_count() {
    let (row, total) = one(1000, 700, &Evidence { queue_tail_drops: Some(200), ..Evidence::default() });
    assert_eq!((row.difference, row.not_by_net_dm.packets), (300, 300));
    assert_eq!(parts(&row.not_by_net_dm), [(Cause::QueueTailDrops, 200)]);
    assert_eq!((row.not_by_net_dm.unexplained, total.unexplained, total.explained), (100, 100, 200));
    assert_eq!(total.verdict, Verdict::Unexplained);
    let (row, total) = one(1000, 700, &Evidence { queue_tail_drops: Some(500), ..Evidence::default() });
    assert_eq!(parts(&row.not_by_net_dm), [(Cause::QueueTailDrops, 300)]);
    assert_eq!(total.verdict, Verdict::Explained);
}

#[test]
fn uncounted_loss_makes_gap_possible() {
    let evidence =
        Evidence { queue_tail_drops: Some(200), socket_overruns: 1, socket_drops: None, ..Evidence::default() };
    let (row, total) = one(1000, 700, &evidence);
    assert_eq!(parts(&row.not_by_net_dm), [(Cause::QueueTailDrops, 200)]);
    assert_eq!((row.not_by_net_dm.possible, row.not_by_net_dm.unexplained), (100, 0));
    assert_eq!(row.not_by_net_dm.possible_causes, [Cause::SocketOverrun]);
    assert_eq!(total.verdict, Verdict::PossiblyExplained);
}

#[test]
fn socket_drops_explain_packet_mode_and_are_possible_in_summary_mode() {
    let overran = Evidence { socket_overruns: 1, socket_drops: Some(40), ..Evidence::default() };
    let (row, total) = one(100, 60, &overran);
    assert_eq!((parts(&row.not_by_net_dm), total.verdict), (vec![(Cause::SocketOverrun, 40)], Verdict::Explained));
    assert_eq!(one(101, 60, &overran).1.verdict, Verdict::Unexplained);
    let (row, _) = one(100, 60, &Evidence { mode: NetDmMode::Summary, ..overran });
    assert_eq!((row.not_by_net_dm.possible, row.not_by_net_dm.possible_causes), (40, vec![Cause::SocketOverrun]));
}

#[test]
fn other_losses_of_net_dm_have_their_own_causes() {
    let counted = Evidence { undecodable: 3, net_dm_overflow: 30, ..Evidence::default() };
    let (row, total) = one(100, 67, &counted);
    assert_eq!(parts(&row.not_by_net_dm), [(Cause::Undecodable, 3), (Cause::NetDmOverflow, 30)]);
    assert_eq!(total.verdict, Verdict::Explained);
    for (evidence, cause) in [
        (Evidence { interruptions: 1, ..Evidence::default() }, Cause::Interrupted),
        (Evidence { queue_tail_drops: None, ..Evidence::default() }, Cause::QueueTailDrops),
    ] {
        let (row, total) = one(100, 60, &evidence);
        assert_eq!((row.not_by_net_dm.possible_causes, total.verdict), (vec![cause], Verdict::PossiblyExplained));
    }
}

#[test]
fn agreement_needs_no_causes() {
    let evidence =
        Evidence { queue_tail_drops: Some(200), socket_overruns: 1, socket_drops: None, ..Evidence::default() };
    let (row, total) = one(700, 700, &evidence);
    assert_eq!((row.not_by_net_dm, row.not_by_ebpf), (Gap::default(), Gap::default()));
    assert_eq!(total.verdict, Verdict::Agree);
    assert_eq!(one(701, 700, &Evidence::default()).1.verdict, Verdict::Unexplained);
}

#[test]
fn each_cause_of_a_site_explains_up_to_its_size() {
    let cases = [
        (SiteEvidence { no_mac_header: 30, ..SiteEvidence::default() }, NetDmMode::Packet, Cause::NoMacHeader),
        (SiteEvidence { own_netlink: 30, ..SiteEvidence::default() }, NetDmMode::Packet, Cause::OwnNetlink),
        (
            SiteEvidence { while_net_dm_off: 30, ..SiteEvidence::default() },
            NetDmMode::Packet,
            Cause::NetDmStartedOrStopped,
        ),
        (SiteEvidence { since_last_alert: 30, ..SiteEvidence::default() }, NetDmMode::Summary, Cause::NotSentAtStop),
    ];
    for (known, mode, cause) in cases {
        let (row, _) = one(100, 60, &Evidence { mode, ..at_site(known) });
        assert_eq!((parts(&row.not_by_net_dm), row.not_by_net_dm.unexplained), (vec![(cause, 30)], 10));
    }
    let (row, _) = one(60, 100, &at_site(SiteEvidence { while_ebpf_off: 30, ..SiteEvidence::default() }));
    assert_eq!(parts(&row.not_by_ebpf), [(Cause::EbpfStartedOrStopped, 30)]);
    assert_eq!((row.difference, row.not_by_ebpf.unexplained, row.not_by_net_dm.packets), (-40, 10, 0));
}

#[test]
fn uncovered_site_is_explained_in_one_direction_only() {
    let uncovered = |by| at_site(SiteEvidence { uncovered: Some(by), ..SiteEvidence::default() });
    let (row, total) = one(100, 0, &uncovered(Uncovered::ByNetDm));
    assert_eq!((parts(&row.not_by_net_dm), total.verdict), (vec![(Cause::NotCoveredByNetDm, 100)], Verdict::Explained));
    let (row, total) = one(0, 100, &uncovered(Uncovered::ByEbpf));
    assert_eq!((parts(&row.not_by_ebpf), total.verdict), (vec![(Cause::NotCoveredByEbpf, 100)], Verdict::Explained));
    assert_eq!(one(0, 100, &uncovered(Uncovered::ByNetDm)).1.verdict, Verdict::Unexplained);
}

#[test]
fn causes_of_one_mode_do_not_explain_the_other() {
    let (row, _) = one(100, 60, &Evidence { full_alerts: 3, alerts: 9, ..Evidence::default() });
    assert_eq!(row.not_by_net_dm.unexplained, 40);
    let summary = Evidence { mode: NetDmMode::Summary, queue_tail_drops: Some(99), ..Evidence::default() };
    assert_eq!(one(100, 60, &summary).0.not_by_net_dm.unexplained, 40);
    let summary = Evidence { full_alerts: 3, alerts: 9, ..summary };
    let (row, _) = one(100, 60, &summary);
    assert_eq!(row.not_by_net_dm.possible_causes, [Cause::TooManySites, Cause::AlertBufferReplaced]);
}

#[test]
fn losses_of_kernel_program_explain_drops_that_only_net_dm_reported() {
    let evidence = Evidence { ebpf_overflow: 5, ebpf_missed: 7, ..Evidence::default() };
    let (row, _) = one(0, 30, &evidence);
    let explained = [(Cause::EbpfOverflow, 5), (Cause::EbpfMissed, 7)];
    assert_eq!((parts(&row.not_by_ebpf), row.not_by_ebpf.unexplained), (explained.to_vec(), 18));
}

#[test]
fn tail_drops_are_shared_out_once() {
    let evidence = Evidence { queue_tail_drops: Some(100), ..Evidence::default() };
    let comparison = compare([(SITE, counts(300, 0)), (OTHER, counts(100, 0))], &evidence);
    let explained: Vec<u64> = comparison.sites.iter().map(|row| row.not_by_net_dm.explained_packets()).collect();
    assert_eq!(explained, [75, 25]);
    assert_eq!(comparison.total.unexplained, 300);
}

#[test]
fn joined_events_show_what_totals_hide() {
    let [hidden, shown] = [None, Some(80)]
        .map(|both| compare([(SITE, Counts { ebpf: 100, net_dm: 100, both })], &Evidence::default()).total);
    assert_eq!((hidden.verdict, hidden.only_one), (Verdict::Agree, 0));
    assert_eq!((shown.verdict, shown.only_one), (Verdict::Unexplained, 40));
}

#[test]
fn least_explained_site_comes_first() {
    let evidence = at_site(SiteEvidence { no_mac_header: 1000, ..SiteEvidence::default() });
    let comparison = compare([(SITE, counts(1000, 0)), (OTHER, counts(3, 0))], &evidence);
    assert_eq!(comparison.sites.iter().map(|row| row.site).collect::<Vec<_>>(), [OTHER, SITE]);
}

#[test]
fn counts_are_summed_side_by_side() {
    let merged = side_by_side([(SITE, 1), (OTHER, 2), (SITE, 3)], [(OTHER, 5), (SITE, u64::MAX), (SITE, 1)]);
    assert_eq!(merged, [(SITE, counts(4, u64::MAX)), (OTHER, counts(2, 5))]);
}

#[test]
fn json_has_causes_and_verdict() {
    let evidence =
        Evidence { queue_tail_drops: Some(2), socket_overruns: 1, socket_drops: None, ..Evidence::default() };
    let comparison = compare([(SITE, counts(5, 0))], &evidence).named(|site| Site { pc: 1, ..site });
    let expected = serde_json::json!({
        "total": {"ebpf": 5, "net_dm": 0, "only_one": 5, "explained": 2, "possible": 3, "unexplained": 0,
                  "verdict": "possibly_explained"},
        "sites": [{
            "pc": 1, "reason": 6, "ebpf": 5, "net_dm": 0, "difference": 5,
            "not_by_net_dm": {"packets": 5, "explained": [{"cause": "queue_tail_drops", "packets": 2}],
                              "possible": 3, "possible_causes": ["socket_overrun"], "unexplained": 0},
            "not_by_ebpf": {"packets": 0, "explained": [], "possible": 0, "possible_causes": [], "unexplained": 0},
        }],
    });
    assert_eq!(serde_json::to_value(&comparison).unwrap(), expected);
}

/// Sizes from zero to all drops, and the largest number.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..50_u64, 0..2000_u64, Just(u64::MAX)]
}

fn site_evidence() -> impl Strategy<Value = SiteEvidence> {
    let uncovered =
        prop_oneof![3 => Just(None), 1 => Just(Some(Uncovered::ByEbpf)), 1 => Just(Some(Uncovered::ByNetDm))];
    (uncovered, size(), size(), size(), size(), size()).prop_map(
        |(uncovered, no_mac_header, own_netlink, while_net_dm_off, while_ebpf_off, since_last_alert)| SiteEvidence {
            uncovered,
            no_mac_header,
            own_netlink,
            while_net_dm_off,
            while_ebpf_off,
            since_last_alert,
        },
    )
}

prop_compose! {
    fn evidence()(
        summary: bool,
        sites in btree_map(0..12_u64, site_evidence(), 0..8),
        (queue_tail_drops, socket_drops) in (proptest::option::of(size()), proptest::option::of(size())),
        (undecodable, net_dm_overflow) in (size(), size()),
        (socket_overruns, interruptions) in (0..2_u64, 0..2_u64),
        full_alerts in 0..2_u64,
        alerts in 0..2_u64,
        ebpf_overflow in size(),
        ebpf_missed in size(),
    ) -> Evidence<u64> {
        Evidence {
            mode: if summary { NetDmMode::Summary } else { NetDmMode::Packet },
            sites: sites.into_iter().collect(),
            queue_tail_drops,
            socket_overruns,
            socket_drops,
            undecodable,
            net_dm_overflow,
            interruptions,
            full_alerts,
            alerts,
            ebpf_overflow,
            ebpf_missed,
        }
    }
}

fn explained_by(comparison: &Comparison<u64>, cause: Cause) -> u64 {
    let gaps = comparison.sites.iter().flat_map(Row::gaps);
    gaps.flat_map(|gap| &gap.explained).filter(|part| part.cause == cause).map(|part| part.packets).sum()
}

proptest! {
    #[test]
    fn every_difference_is_accounted_for_and_no_cause_exceeds_its_size(
        ebpf in vec((0..12_u64, 0..1000_u64), 0..20),
        net_dm in vec((0..12_u64, 0..1000_u64), 0..20),
        joined in proptest::option::of(0..1000_u64),
        evidence in evidence(),
    ) {
        let merged = side_by_side(ebpf.clone(), net_dm.clone());
        let counts = merged.into_iter().map(|(site, counts)| (site, Counts { both: joined, ..counts }));
        let comparison = compare(counts, &evidence);
        let sum = |list: &[(u64, u64)]| list.iter().map(|(_, count)| count).sum::<u64>();
        prop_assert_eq!((comparison.total.ebpf, comparison.total.net_dm), (sum(&ebpf), sum(&net_dm)));
        let mut left = 0;
        for row in &comparison.sites {
            let [not_by_net_dm, not_by_ebpf] = row.gaps();
            prop_assert_eq!(row.ebpf - not_by_net_dm.packets, row.net_dm - not_by_ebpf.packets);
            for gap in row.gaps() {
                prop_assert_eq!(gap.packets, gap.explained_packets() + gap.possible + gap.unexplained);
                prop_assert!(gap.possible == 0 || gap.unexplained == 0);
                prop_assert_eq!(gap.possible > 0, !gap.possible_causes.is_empty());
                prop_assert!(gap.explained.iter().all(|part| part.packets > 0));
                left += gap.unexplained;
            }
            let known = evidence.sites.get(&row.site).copied().unwrap_or_default();
            for part in not_by_net_dm.explained.iter().chain(&not_by_ebpf.explained) {
                let size = match part.cause {
                    Cause::NoMacHeader => known.no_mac_header,
                    Cause::OwnNetlink => known.own_netlink,
                    Cause::NetDmStartedOrStopped => known.while_net_dm_off,
                    Cause::EbpfStartedOrStopped => known.while_ebpf_off,
                    Cause::NotSentAtStop => known.since_last_alert,
                    _ => u64::MAX,
                };
                prop_assert!(part.packets <= size);
            }
        }
        for (cause, size) in [
            (Cause::QueueTailDrops, evidence.queue_tail_drops.unwrap_or(0)),
            (Cause::SocketOverrun, evidence.socket_drops.unwrap_or(0)),
            (Cause::Undecodable, evidence.undecodable),
            (Cause::NetDmOverflow, evidence.net_dm_overflow),
            (Cause::EbpfOverflow, evidence.ebpf_overflow),
            (Cause::EbpfMissed, evidence.ebpf_missed),
        ] {
            // A counted cause explains all that it can before any drop stays unexplained.
            prop_assert!(explained_by(&comparison, cause) <= size);
        }
        prop_assert_eq!(comparison.total.unexplained, left);
        prop_assert_eq!(comparison.is_explained(), left == 0);
        if left > 0 && evidence.mode == NetDmMode::Packet
            && let Some(tail_drops) = evidence.queue_tail_drops
            && tail_drops > 0
        {
            let in_vain = comparison.sites.iter().any(|row| row.not_by_net_dm.unexplained > 0);
            prop_assert!(!in_vain || explained_by(&comparison, Cause::QueueTailDrops) == tail_drops);
        }
    }

    #[test]
    fn without_evidence_no_drop_is_explained(ebpf in 0..u64::MAX, net_dm in 0..u64::MAX) {
        let (row, total) = one(ebpf, net_dm, &Evidence::default());
        prop_assert_eq!(row.not_by_net_dm.unexplained, ebpf.saturating_sub(net_dm));
        prop_assert_eq!(row.not_by_ebpf.unexplained, net_dm.saturating_sub(ebpf));
        prop_assert_eq!(total.verdict.is_explained(), ebpf == net_dm);
    }
}
