//! Sample reports and drops for the tests of sinks.

mod retransmits;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::PacketBuilder;

use crate::domain::compare::{Counts, Evidence, SiteEvidence, compare};
use crate::domain::dedupe::{AloneLedger, DedupeLedger, ObservationLedger};
use crate::domain::event::{Location, NamedKey, Origin, Reason, Symbol, Timestamp};
use crate::domain::facts::Role;
use crate::domain::ledger::{EbpfLedger, EventLedger, Ledger, NetDmLedger};
use crate::domain::owner::{Owner, Process};
use crate::domain::refused::{Refusal, RefusedReport, RefusedSyns};
use crate::domain::report::{CompareReport, HeldBack, Host, SourceReport, StatReport};
use crate::domain::stack::{SampledStack, SampledStacks};
use crate::domain::total::{DropTotal, OverflowTotal};
pub(super) use retransmits::{retransmission, retransmissions};

/// 2026-01-01T00:00:00Z.
pub(crate) const NEW_YEAR: Timestamp = Timestamp(1_767_225_600_000_000_000);
pub(crate) const HOME: u32 = 4_026_531_833;
const SECOND: u64 = 1_000_000_000;

pub(crate) fn host() -> Host {
    Host { name: "lab-1".into(), kernel: "6.18.44".into() }
}

pub(crate) fn reason(value: u32, subsystem: &str, name: &str) -> Arc<Reason> {
    Arc::new(Reason { value: Some(value), subsystem: subsystem.into(), name: name.into() })
}

pub(super) fn location(symbol: &str, offset: u64, module: Option<&str>) -> Arc<Location> {
    let address = 0xffff_ffff_8204_5780 + offset;
    let symbol = Symbol { name: symbol.into(), offset, module: module.map(Into::into) };
    Arc::new(Location { address, symbol: Some(symbol), trap_group: None })
}

pub(crate) fn key() -> NamedKey {
    NamedKey {
        reason: reason(6, "core", "SOCKET_RCVBUFF"),
        location: location("udp_queue_rcv_one_skb", 0x1a7, None),
        protocol: 0x0800,
        interface: Some("lo".into()),
        ifindex: 1,
        netns: HOME,
        ..NamedKey::default()
    }
}

/// Two stacks of one drop site, and one of another.
pub(super) fn stacks() -> Vec<SampledStacks> {
    let functions = |names: &[(&str, u64, Option<&str>)]| {
        names.iter().map(|(name, offset, module)| location(name, *offset, *module)).collect()
    };
    let receive = [("udp_queue_rcv_one_skb", 0x1a7, None), ("udp_unicast_rcv_skb", 0x72, None), ("ip_rcv", 0x5d, None)];
    let local = [receive[0], receive[1], ("__local_bh_enable_ip", 0x64, None)];
    let filter = [("nf_hook_slow", 0xc5, None), ("nft_do_chain", 0x3f, Some("nf_tables"))];
    vec![
        SampledStacks {
            reason: reason(6, "core", "SOCKET_RCVBUFF"),
            location: location("udp_queue_rcv_one_skb", 0x1a7, None),
            drops: 1_200_000,
            sampled: 1_204,
            stacks: vec![
                SampledStack { functions: functions(&receive), samples: 1_047 },
                SampledStack { functions: functions(&local), samples: 150 },
            ],
        },
        SampledStacks {
            reason: reason(8, "core", "NETFILTER_DROP"),
            location: location("nf_hook_slow", 0xc5, None),
            drops: 3,
            sampled: 3,
            stacks: vec![SampledStack { functions: functions(&filter), samples: 3 }],
        },
    ]
}

/// The key of a packet for a container of a pod.
pub(crate) fn owned_key() -> NamedKey {
    let owner = Owner {
        cgroup: Some("/kubepods/pod1/2".into()),
        container: Some("nginx".into()),
        pod: Some("shop/web-7d9f".into()),
        unit: None,
    };
    NamedKey { socket: Some(Role::Receiver), cgroup_id: 77, owner: owner.into(), ..key() }
}

fn total(key: NamedKey, packets: u64, bytes: u64, last_second: u64) -> DropTotal {
    let last_seen = Timestamp(NEW_YEAR.0 + last_second * SECOND);
    DropTotal {
        key: Arc::new(key),
        packets,
        bytes: Some(bytes),
        first_seen: NEW_YEAR,
        last_seen,
        seen_by: &[Origin::Ebpf],
        more: 0,
    }
}

/// Seven aggregation keys, from common ones to those with the longest columns.
pub(crate) fn totals() -> Vec<DropTotal> {
    let device = |name: Option<&str>, ifindex| NamedKey { interface: name.map(Into::into), ifindex, ..key() };
    let long = location("nft_do_chain_inet_ingress_with_a_name_beyond_all_reason.constprop.0", 0x5, Some("nf_tables"));
    vec![
        total(key(), 1_000_000, 106_000_000, 9),
        total(
            NamedKey {
                reason: reason(12, "core", "NETFILTER_DROP"),
                location: long,
                protocol: 0x86dd,
                ..device(Some("enp0s31f6"), 2)
            },
            4_211,
            353_724,
            8,
        ),
        total(
            NamedKey {
                reason: reason(0x2_0003, "openvswitch", "OVS_DROP_EXPLICIT_WITH_ERROR"),
                location: location("ovs_dp_process_packet", 0x12f, Some("openvswitch")),
                ..device(Some("ovs-system"), 9)
            },
            998,
            63_872,
            7,
        ),
        total(
            NamedKey {
                reason: reason(3, "core", "NO_SOCKET"),
                location: location("tcp_v4_rcv", 0x4e2, None),
                ..device(None, 7)
            },
            17,
            1_258,
            6,
        ),
        total(
            NamedKey {
                reason: reason(2, "core", "NOT_SPECIFIED"),
                location: Arc::new(Location { address: 0xffff_ffff_c0de_0042, symbol: None, trap_group: None }),
                protocol: 0,
                ..device(None, 0)
            },
            3,
            180,
            5,
        ),
        total(
            NamedKey {
                reason: reason(60, "core", "UNHANDLED_PROTO"),
                location: location("__netif_receive_skb_core.constprop.0", 0xb31, None),
                protocol: 0x88cc,
                ..device(Some("enp0s31f6"), 2)
            },
            2,
            120,
            4,
        ),
    ]
}

/// The same aggregation keys and one in another namespace.
pub(crate) fn totals_of_two_namespaces() -> Vec<DropTotal> {
    let mut totals = totals();
    let blue = NamedKey { netns: 4_026_532_201, netns_name: Some("blue".into()), ..(*totals[3].key).clone() };
    totals.push(total(blue, 40, 2_960, 3));
    totals
}

pub(crate) fn overflow() -> Vec<OverflowTotal> {
    let of = |reason, packets| OverflowTotal { reason, packets, bytes: Some(packets * 64) };
    vec![
        of(Some(reason(6, "core", "SOCKET_RCVBUFF")), 1_200),
        of(Some(reason(0x2_0003, "openvswitch", "OVS_DROP_EXPLICIT")), 30),
        of(None, 5),
    ]
}

/// A report whose ledger balances.
pub(crate) fn report(drops: Vec<DropTotal>, overflow: Vec<OverflowTotal>) -> StatReport {
    let accounted = drops.iter().map(|total| total.packets).sum();
    let without_key = overflow.iter().map(|total| total.packets).sum();
    let ledger = EbpfLedger {
        nested: 0,
        unknown_netns: 0,
        unrecorded: 0,
        hits: accounted + without_key,
        accounted,
        overflow: without_key,
        filtered: 0,
        qdisc_unmatched: None,
        missed: 0,
        events: None,
    };
    StatReport {
        host: host(),
        started_at: NEW_YEAR,
        duration: Duration::from_secs(10),
        is_final: true,
        sources: vec![SourceReport { mode: "tp_btf", ledger: Ledger::Ebpf(ledger), held_back: vec![] }],
        drops,
        overflow,
        hidden: vec![],
        own_netlink_drops: Some(0),
        stacks: None,
        attribution: None,
        flows: None,
        retransmissions: None,
        refused: None,
        outside: None,
        past: None,
    }
}

/// The ledger of a trace that showed 8 of 1,000 drops.
pub(super) fn trace_sources() -> Vec<SourceReport> {
    let events = EventLedger {
        offered: 1_000,
        submitted: 9,
        suppressed: 989,
        ring_full: 2,
        delivered: 8,
        undecodable: 1,
        unreadable: 3,
        rate: 100,
    };
    let ledger = EbpfLedger {
        hits: 1_007,
        accounted: 1_000,
        filtered: 7,
        missed: 0,
        events: Some(events),
        ..EbpfLedger::default()
    };
    let NamedKey { reason, location, .. } = key();
    let held_back = vec![HeldBack { reason, location, records: 989 }];
    vec![SourceReport { mode: "tp_btf", ledger: Ledger::Ebpf(ledger), held_back }]
}

/// The ledger of a `NET_DM` backend in packet mode that lost some drops.
pub(super) fn net_dm_source() -> SourceReport {
    let ledger = NetDmLedger {
        counts_losses: true,
        received: 1_003,
        delivered: 1_000,
        undecodable: 3,
        drops: 1_000,
        accounted: 990,
        overflow: 6,
        filtered: 4,
        tail_drops: Some(20),
        socket_drops: Some(100),
        overruns: 2,
        ..NetDmLedger::default()
    };
    SourceReport { mode: "packet", ledger: Ledger::NetDm(ledger), held_back: vec![] }
}

/// The kernel program's ledger within a report, for changes.
pub(crate) fn ebpf(report: &mut StatReport) -> &mut EbpfLedger {
    match &mut report.sources[0].ledger {
        Ledger::Ebpf(ledger) => ledger,
        Ledger::NetDm(_) | Ledger::Counters(_) => panic!("the samples are eBPF's"),
    }
}

pub(crate) fn udp_packet() -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(53, 4444);
    builder.write(&mut bytes, &[7; 48]).unwrap();
    bytes
}

pub(super) fn tcp_packet() -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .single_vlan(100.try_into().unwrap())
        .ipv6([0xfd; 16], [0xfe; 16], 64)
        .tcp(443, 55_000, 1234, 512)
        .syn()
        .ack(99);
    builder.write(&mut bytes, &[]).unwrap();
    bytes
}

/// A comparison with each kind of part.
pub(super) fn comparison() -> CompareReport {
    let key =
        |number: u64| Arc::new(NamedKey { location: location("nft_do_chain", number, Some("nf_tables")), ..key() });
    let known = SiteEvidence { no_mac_header: 40, while_net_dm_off: 3, ..SiteEvidence::default() };
    let evidence = Evidence {
        sites: [(2, known)].into_iter().collect(),
        queue_tail_drops: Some(1_000),
        socket_overruns: 1,
        socket_drops: None,
        ..Evidence::default()
    };
    let of = |ebpf, net_dm, both| Counts { ebpf, net_dm, both };
    let counts = [(1, of(20_000, 18_990, None)), (2, of(43, 0, None)), (3, of(7, 9, Some(6))), (4, of(5, 5, Some(5)))];
    CompareReport {
        host: host(),
        started_at: NEW_YEAR,
        duration: Duration::from_secs(10),
        sources: [trace_sources(), vec![net_dm_source()]].concat(),
        union: Some(union()),
        comparison: compare(counts, &evidence).named(key),
    }
}

/// A ledger of a join that balances.
pub(super) fn union() -> DedupeLedger {
    let alone = AloneLedger { no_mac_header: 40, expired: 2, ..AloneLedger::default() };
    DedupeLedger {
        ebpf: ObservationLedger { delivered: 1_042, alone },
        net_dm: ObservationLedger { delivered: 1_001, alone: AloneLedger { expired: 1, ..AloneLedger::default() } },
        unique: 1_043,
        duplicates: 1_000,
        pending: 0,
    }
}

/// SYNs that two sockets refused.
pub(crate) fn refused() -> RefusedReport {
    let sources = |sources: &[(u8, u64)]| {
        sources.iter().map(|(last, packets)| (IpAddr::from([192, 0, 2, *last]), *packets)).collect::<Vec<_>>()
    };
    let owner = Owner { pod: Some("shop/web".into()), container: Some("nginx".into()), ..Owner::default() };
    let full = RefusedSyns {
        netns: 4_026_532_201,
        netns_name: Some("web".into()),
        listener: ([10, 0, 0, 2], 80).into(),
        cgroup_id: 77,
        owner,
        process: Some(Process { pid: 812, comm: Some("gunicorn".into()) }),
        refusal: Refusal::AcceptQueue,
        packets: 1_082,
        sources: sources(&[(1, 1_000), (2, 70), (3, 4), (4, 1)]),
    };
    let other = RefusedSyns {
        netns_name: None,
        listener: "[::]:8080".parse().expect("an address"),
        cgroup_id: 0,
        owner: Owner::default(),
        process: None,
        refusal: Refusal::Other,
        packets: 2,
        sources: sources(&[(1, 2)]),
        ..full.clone()
    };
    RefusedReport { rows: vec![full, other], refused: 1_091, filtered: 4, without_room: 3 }
}
