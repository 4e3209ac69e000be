use super::*;
use crate::domain::compare::{Cause, Verdict};
use crate::domain::dedupe::Moment;
use crate::domain::event::{Location, Origin, PacketStart, Reason, Symbol, Timestamp};
use crate::domain::facts::Facts;
use crate::domain::ledger::EventLedger;
use crate::pipeline::union::UnionOptions;

fn key(pc: u64, subsystem: &str, name: &str) -> Arc<NamedKey> {
    Arc::new(NamedKey {
        reason: Reason { value: Some(3), subsystem: subsystem.into(), name: name.into() }.into(),
        location: Location { address: pc, symbol: None, trap_group: None }.into(),
        ..NamedKey::default()
    })
}

fn total(key: &Arc<NamedKey>, packets: u64) -> DropTotal {
    let (first_seen, last_seen) = (Timestamp(0), Timestamp(1));
    DropTotal { key: Arc::clone(key), packets, bytes: None, first_seen, last_seen, seen_by: &[], more: 0 }
}

fn material(ebpf: Vec<DropTotal>, net_dm: Vec<DropTotal>) -> Material {
    let packets: u64 = ebpf.iter().map(|total| total.packets).sum();
    let events = EventLedger { delivered: packets, ..EventLedger::default() };
    Material {
        ebpf_ledger: EbpfLedger { accounted: packets, missed: 0, events: Some(events), ..EbpfLedger::default() },
        net_dm_ledger: NetDmLedger { tail_drops: Some(0), socket_drops: Some(0), ..NetDmLedger::default() },
        opening: vec![],
        closing: ebpf.clone(),
        ebpf,
        net_dm,
        mode: NetDmMode::Packet,
        own_netlink_drops: Some(0),
    }
}

fn event<'a>(key: &'a Arc<NamedKey>, start: PacketStart, bytes: &'a [u8]) -> DropEvent<'a> {
    DropEvent {
        stack: &[],
        process: None,
        facts: Facts::default(),
        timestamp: Timestamp(5),
        key,
        seen_by: &[Origin::NetDm],
        length: 100,
        start,
        bytes,
    }
}

fn union(events: &[(Origin, DropEvent<'_>)]) -> Union {
    let mut union = Union::new(UnionOptions::of_bytes(64, 0));
    for (origin, event) in events {
        union.take(Moment(0), *origin, event);
        while union.next_settled().is_some() {}
    }
    union.finish();
    while union.next_settled().is_some() {}
    union
}

/// Causes and sizes of the first row: drops not seen by `NET_DM`, and drops not seen by the kernel program.
fn causes(comparison: &Comparison<Arc<NamedKey>>) -> [Vec<(Cause, u64)>; 2] {
    let [one, other] = comparison.sites[0].gaps();
    [one, other].map(|gap| gap.explained.iter().map(|part| (part.cause, part.packets)).collect())
}

#[test]
fn rows_of_interfaces_are_summed_up_by_site_and_reason() {
    let known = key(1, "core", "NO_SOCKET");
    let elsewhere = Arc::new(NamedKey { ifindex: 7, ..(*known).clone() });
    let comparison = material(vec![total(&known, 3), total(&elsewhere, 4)], vec![total(&elsewhere, 7)])
        .compare(None, &Late::default());
    assert_eq!((comparison.sites.len(), comparison.total.verdict), (1, Verdict::Agree));
}

#[test]
fn single_drops_that_were_joined_show_what_equal_sums_hide() {
    let key = key(1, "core", "NO_SOCKET");
    let material = material(vec![total(&key, 2)], vec![total(&key, 2)]);
    let packet = |number: u8| [number; 60];
    let (one, two, three) = (packet(1), packet(2), packet(3));
    let of = |bytes| event(&key, PacketStart::Mac, bytes);
    let union = union(&[
        (Origin::Ebpf, of(&one)),
        (Origin::NetDm, of(&one)),
        (Origin::Ebpf, of(&two)),
        (Origin::NetDm, of(&three)),
    ]);
    assert_eq!(material.compare(None, &Late::default()).total.verdict, Verdict::Agree);
    let comparison = material.compare(Some(&union), &Late::default());
    assert_eq!((comparison.total.unexplained, comparison.total.verdict), (2, Verdict::Unexplained));
    // Where records were lost, the sources that saw a drop are not known.
    let lossy =
        EbpfLedger { events: Some(EventLedger { delivered: 1, ..EventLedger::default() }), ..material.ebpf_ledger };
    let comparison = Material { ebpf_ledger: lossy, ..material }.compare(Some(&union), &Late::default());
    assert_eq!(comparison.total.verdict, Verdict::Agree);
}

#[test]
fn packets_without_a_mac_header_are_known_from_their_records() {
    let key = key(1, "core", "NETFILTER_DROP");
    let union = union(&[(Origin::Ebpf, event(&key, PacketStart::Network, &[1; 60]))]);
    let comparison = material(vec![total(&key, 1)], vec![]).compare(Some(&union), &Late::default());
    assert_eq!(causes(&comparison)[0], [(Cause::NoMacHeader, 1)]);
    assert_eq!(comparison.total.verdict, Verdict::Explained);
}

#[test]
fn what_came_while_one_was_off_is_explained_by_that() {
    let known = key(1, "core", "NO_SOCKET");
    let mut started = material(vec![total(&known, 10)], vec![total(&known, 7)]);
    started.opening = vec![total(&known, 2)];
    let comparison = started.compare(None, &Late::default());
    assert_eq!(causes(&comparison)[0], [(Cause::NetDmStartedOrStopped, 2)]);
    assert_eq!(comparison.total.unexplained, 1);
    let mut late = Late::default();
    late.add(&event(&known, PacketStart::Mac, &[]));
    let comparison = material(vec![total(&known, 7)], vec![total(&known, 8)]).compare(None, &late);
    assert_eq!(causes(&comparison)[1], [(Cause::EbpfStartedOrStopped, 1)]);
}

#[test]
fn last_reading_explains_summaries_not_sent_at_the_end() {
    let known = key(1, "core", "NO_SOCKET");
    let no_reason = Arc::new(NamedKey {
        reason: Reason {
            value: Some(tracer_common::REASON_ABSENT),
            subsystem: "core".into(),
            name: "NOT_SPECIFIED".into(),
        }
        .into(),
        ..(*known).clone()
    });
    let mut summary = material(vec![total(&known, 10)], vec![total(&no_reason, 6)]);
    summary.mode = NetDmMode::Summary;
    summary.closing = vec![total(&known, 7)];
    let comparison = summary.compare(None, &Late::default());
    assert_eq!(causes(&comparison)[0], [(Cause::NotSentAtStop, 3)]);
    assert_eq!((comparison.sites.len(), comparison.total.unexplained), (1, 1));
    summary.net_dm_ledger = NetDmLedger { at_limit: 1, received: 4, ..summary.net_dm_ledger };
    let comparison = summary.compare(None, &Late::default());
    let possible = &comparison.sites[0].not_by_net_dm.possible_causes;
    assert_eq!(*possible, [Cause::TooManySites, Cause::AlertBufferReplaced]);
}

#[test]
fn hardware_drops_without_records_are_not_covered_by_ebpf() {
    let trap = key(0, "hardware", "ttl_value_is_too_small");
    let comparison = material(vec![], vec![total(&trap, 5)]).compare(None, &Late::default());
    assert_eq!(causes(&comparison)[1], [(Cause::NotCoveredByEbpf, 5)]);
    let comparison = material(vec![total(&trap, 4)], vec![total(&trap, 5)]).compare(None, &Late::default());
    assert_eq!(comparison.total.unexplained, 1, "they are covered");
}

#[test]
fn frames_of_xdp_are_not_covered_by_net_dm() {
    let xdp = Arc::new(NamedKey { kind: crate::domain::event::Kind::Xdp, ..(*key(0, "xdp", "XDP_ABORTED")).clone() });
    let trap = key(0, "hardware", "ttl_value_is_too_small");
    for name in ["NOT_SPECIFIED", "ttl_value_is_too_small"] {
        let mut packets = (*trap).clone();
        if name == "NOT_SPECIFIED" {
            // Summary mode reports no reasons.
            let value = Some(tracer_common::REASON_ABSENT);
            packets.reason = Reason { value, subsystem: "core".into(), name: name.into() }.into();
        }
        let packets = total(&Arc::new(packets), 3);
        let comparison = material(vec![total(&xdp, 5), total(&trap, 3)], vec![packets]).compare(None, &Late::default());
        assert_eq!(comparison.sites.len(), 2, "{name}");
        let explained: Vec<_> = comparison
            .sites
            .iter()
            .flat_map(|row| &row.not_by_net_dm.explained)
            .map(|part| (part.cause, part.packets))
            .collect();
        assert_eq!(explained, [(Cause::NotCoveredByNetDm, 5)], "{name}");
        assert_eq!(comparison.total.unexplained, 0, "{name}");
    }
}

#[test]
fn messages_to_our_own_sockets_are_ours() {
    let symbol = Symbol { name: "netlink_unicast".into(), offset: 9, module: None };
    let delivery = Arc::new(NamedKey {
        kind: crate::domain::event::Kind::Netlink,
        location: Location { address: 1, symbol: Some(symbol), trap_group: None }.into(),
        ..(*key(1, "core", "NOT_SPECIFIED")).clone()
    });
    let mut own = material(vec![total(&delivery, 5)], vec![]);
    own.own_netlink_drops = Some(4);
    let comparison = own.compare(None, &Late::default());
    assert_eq!(causes(&comparison)[0], [(Cause::OwnNetlink, 4)]);
    assert_eq!(comparison.total.unexplained, 1, "others have listeners, too");
}
