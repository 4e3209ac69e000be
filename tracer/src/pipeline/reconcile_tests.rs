use super::*;
use crate::domain::event::{Location, NamedKey, Origin, Symbol, Timestamp};
use crate::domain::ledger::{EbpfLedger, NetDmLedger};

const HERE: u32 = 4_026_532_201;
const SEEN: Unseen = Unseen { packets: 0, is_partial: false };

pub(in crate::pipeline) fn reason(name: &str) -> Arc<Reason> {
    Arc::new(Reason { value: Some(3), subsystem: "core".into(), name: name.into() })
}

pub(in crate::pipeline) fn row(name: &str, function: Option<&str>, netns: u32, packets: u64) -> DropTotal {
    let symbol = function.map(|name| Symbol { name: name.into(), offset: 1, module: None });
    let location = Arc::new(Location { address: 1, symbol, trap_group: None });
    let reason = if name.is_empty() { NamedKey::default().reason } else { reason(name) };
    let key = Arc::new(NamedKey { reason, location, netns, protocol: IPV4, ..NamedKey::default() });
    let (first_seen, last_seen) = (Timestamp(0), Timestamp(0));
    DropTotal { key, packets, bytes: None, first_seen, last_seen, seen_by: Origin::Ebpf.alone(), more: 0 }
}

/// Rise, explained, undecided and outside of one counter.
fn compared(counter: &str, rise: u64, drops: &[DropTotal], overflow: &[OverflowTotal], unseen: Unseen) -> [u64; 4] {
    let rise = Rise { counter: counter.into(), netns: HERE, netns_name: None, rise, ..Rise::default() };
    let readings = Readings { rises: vec![rise], namespaces: 1, ..Readings::default() };
    let found = reconcile(&Counters::built_in().unwrap(), &readings, drops, overflow, unseen);
    let [counter] = &found.counters[..] else { panic!("{found:?}") };
    let shown = [counter.rise, counter.explained, counter.undecided(), counter.outside];
    assert_eq!(shown[0], shown[1] + shown[2] + shown[3], "the parts are the rise");
    shown
}

#[test]
fn rise_beyond_the_drops_is_outside() {
    let drops = [row("NO_SOCKET", Some("__udp4_lib_rcv"), HERE, 7), row("NO_SOCKET", Some("tcp_v4_rcv"), HERE, 90)];
    assert_eq!(compared("UdpNoPorts", 7, &drops, &[], SEEN), [7, 7, 0, 0]);
    assert_eq!(compared("UdpNoPorts", 9, &drops, &[], SEEN), [9, 7, 0, 2]);
    assert_eq!(compared("UdpNoPorts", 5, &drops, &[], SEEN), [5, 5, 0, 0], "drops after the last reading");
    assert_eq!(compared("TcpExtListenDrops", 82, &drops, &[], SEEN), [82, 0, 0, 82]);
}

/// `csum_error` in `__udp6_lib_rcv` keeps the reason that was set before.
#[test]
fn wrong_checksum_of_a_datagram_without_a_socket_is_explained() {
    let mut drop = row("NO_SOCKET", Some("__udp6_lib_rcv"), HERE, 40);
    Arc::make_mut(&mut drop.key).protocol = IPV6;
    let drops = [drop];
    assert_eq!(compared("Udp6InCsumErrors", 40, &drops, &[], SEEN), [40, 40, 0, 0]);
    assert_eq!(compared("UdpInCsumErrors", 40, &drops, &[], SEEN), [40, 0, 0, 40]);
}

#[test]
fn drop_that_may_be_counted_is_not_claimed() {
    for (drop, why) in [
        (row("", Some("tcp_v4_rcv"), HERE, 5), "a kernel without reasons"),
        (row("", Some("kfree_skb"), HERE, 5), "a kernel without reasons, whose compiler split kfree_skb"),
        (row("NOT_SPECIFIED", Some("tcp_v6_rcv.cold"), HERE, 5), "no reason there"),
        (row("TCP_LISTEN_OVERFLOW", None, HERE, 5), "hidden addresses"),
        (row("TCP_LISTEN_OVERFLOW", Some("tcp_v4_rcv"), 0, 5), "no namespace"),
        (row("133", Some("tcp_v4_rcv"), HERE, 5), "a reason without a name"),
    ] {
        assert_eq!(compared("TcpExtListenDrops", 33, &[drop], &[], SEEN), [33, 0, 5, 28], "{why}");
    }
    let overflow = |reason| [OverflowTotal { reason, packets: 5, bytes: None }];
    for reason in [None, Some(reason("TCP_LISTEN_OVERFLOW")), Some(reason("NOT_SPECIFIED"))] {
        assert_eq!(compared("TcpExtListenDrops", 33, &[], &overflow(reason), SEEN), [33, 0, 5, 28]);
    }
    let lost = Unseen { packets: 5, is_partial: false };
    assert_eq!(compared("TcpExtListenDrops", 33, &[], &[], lost), [33, 0, 5, 28]);
}

/// Drops without a reason that are as many as the refused connections hide none of them.
#[test]
fn undecided_rise_of_an_untraceable_counter_may_be_outside() {
    let at_most = |counter: &str, drops: &[DropTotal], unseen| {
        let rise = Rise { counter: counter.into(), netns: HERE, netns_name: None, rise: 12, ..Rise::default() };
        let readings = Readings { rises: vec![rise], namespaces: 1, ..Readings::default() };
        let found = reconcile(&Counters::built_in().unwrap(), &readings, drops, &[], unseen);
        (found.counters[0].at_most_outside(), found.outside().len())
    };
    let without_reason = [row("NOT_SPECIFIED", Some("tcp_v4_rcv"), HERE, 20)];
    assert_eq!(at_most("TcpExtListenDrops", &without_reason, SEEN), (12, 1));
    let explained = [row("TCP_LISTEN_OVERFLOW", Some("tcp_v4_rcv"), HERE, 5), without_reason[0].clone()];
    assert_eq!(at_most("TcpExtListenDrops", &explained, SEEN), (7, 1));
    assert_eq!(at_most("TcpExtListenDrops", &[], Unseen { packets: 90, is_partial: false }), (12, 1));
    let udp = [row("NOT_SPECIFIED", Some("__udp4_lib_rcv"), HERE, 20)];
    assert_eq!(at_most("UdpNoPorts", &udp, SEEN), (0, 0), "those packets pass kfree_skb");
}

/// What an XDP program in veth drops as `sk_buff` is at `kfree_skb`, and no loss outside. Other drops at the interface decide nothing.
#[test]
fn drops_at_the_function_of_a_driver_explain_its_counter() {
    let at_interface = |reason, function, packets| {
        let mut drop = row(reason, Some(function), HERE, packets);
        Arc::make_mut(&mut drop.key).ifindex = 3;
        drop
    };
    let found = |rises: &[(&str, u64)], drops: &[DropTotal]| {
        let rise = |(counter, rise): &(&str, u64)| Rise {
            counter: (*counter).into(),
            netns: HERE,
            interface: Some(crate::domain::reconciliation::Interface { ifindex: 3, name: None }),
            rise: *rise,
            ..Rise::default()
        };
        let readings = Readings { rises: rises.iter().map(rise).collect(), ..Readings::default() };
        let found = reconcile(&Counters::built_in().unwrap(), &readings, drops, &[], SEEN);
        found.counters.iter().map(|it| [it.explained, it.outside, it.at_most_outside()]).collect::<Vec<_>>()
    };
    let (drops, frames) = (("ethtool:rx_queue_0_xdp_drops", 500), ("ethtool:rx_queue_1_xdp_drops", 500));
    let of_veth = [at_interface("NOT_SPECIFIED", "veth_xdp_rcv_skb", 500)];
    assert_eq!(found(&[drops], &of_veth), [[500, 0, 0]]);
    let of_stack = [at_interface("NO_SOCKET", "__udp4_lib_rcv", 500)];
    assert_eq!(found(&[drops], &of_stack), [[0, 0, 500]]);
    // Frames without an `sk_buff` raised one of the two.
    assert_eq!(found(&[drops, frames], &of_veth), [[0, 0, 500]; 2]);
    let of_both = [at_interface("NOT_SPECIFIED", "veth_xdp_rcv_skb", 1000)];
    assert_eq!(found(&[drops, frames], &of_both), [[500, 0, 0]; 2]);
}

#[test]
fn drops_elsewhere_and_of_other_kinds_explain_nothing() {
    let mut unix = row("NOT_SPECIFIED", None, HERE, 4);
    Arc::make_mut(&mut unix.key).kind = Kind::Unix;
    let drops = [
        row("TCP_LISTEN_OVERFLOW", Some("tcp_v4_rcv"), HERE + 1, 5),
        row("NOT_SPECIFIED", Some("udp_rcv"), HERE, 5),
        row("SOCKET_BACKLOG", Some("tcp_v4_rcv"), HERE, 5),
        unix,
    ];
    assert_eq!(compared("TcpExtListenDrops", 33, &drops, &[], SEEN), [33, 0, 0, 33]);
}

#[test]
fn versions_of_ip_are_kept_apart() {
    let drops = [row("NO_SOCKET", Some("udp_rcv"), HERE, 5)];
    assert_eq!(compared("Udp6NoPorts", 3, &drops, &[], SEEN), [3, 0, 0, 3]);
    assert_eq!(compared("UdpNoPorts", 3, &drops, &[], SEEN), [3, 3, 0, 0]);
}

/// A checksum that is found to be wrong late, at a function whose name has no protocol.
#[test]
fn reason_of_one_protocol_counts_at_any_function() {
    let late = row("UDP_CSUM", Some("__first_packet_length"), 0, 4);
    assert_eq!(compared("UdpInCsumErrors", 4, std::slice::from_ref(&late), &[], SEEN), [4, 0, 4, 0]);
    let mut of_ipv6 = late;
    Arc::make_mut(&mut of_ipv6.key).protocol = IPV6;
    assert_eq!(compared("UdpInCsumErrors", 4, &[of_ipv6], &[], SEEN), [4, 0, 4, 0]);
    let here = [row("UDP_CSUM", Some("elsewhere"), HERE, 4)];
    assert_eq!(compared("UdpInCsumErrors", 5, &here, &[], SEEN), [5, 4, 0, 1]);
}

#[test]
fn partial_backend_claims_only_packets_that_pass_no_kfree_skb() {
    let partial = Unseen { packets: 2, is_partial: true };
    assert_eq!(compared("UdpNoPorts", 9, &[], &[], partial), [9, 0, 9, 0]);
    assert_eq!(compared("TcpExtListenDrops", 9, &[], &[], partial), [9, 0, 2, 7]);
}

#[test]
fn ledgers_show_what_is_unseen() {
    let source = |ledger| SourceReport { mode: "", ledger, held_back: vec![] };
    let ebpf = source(Ledger::Ebpf(EbpfLedger { nested: 2, missed: 3, filtered: 50, ..EbpfLedger::default() }));
    assert_eq!(Unseen::of(std::slice::from_ref(&ebpf), false), Unseen { packets: 5, is_partial: false });
    assert_eq!(Unseen::of(std::slice::from_ref(&ebpf), true), Unseen { packets: 55, is_partial: false });
    let monitor = source(Ledger::NetDm(NetDmLedger::default()));
    assert_eq!(Unseen::of(std::slice::from_ref(&monitor), false), Unseen { packets: u64::MAX, is_partial: true });
    assert_eq!(Unseen::of(&[monitor, ebpf], false), Unseen { packets: 5, is_partial: false });
    assert_eq!(compared("TcpExtListenDrops", 9, &[], &[], Unseen::of(&[], false)), [9, 0, 9, 0]);
}

#[test]
fn namespace_with_drops_that_was_not_found_is_a_gap() {
    let counters = Counters::built_in().unwrap();
    let gaps = |mentioned: Vec<u32>, netns: &[u32]| {
        let drops: Vec<_> = netns.iter().map(|netns| row("NO_SOCKET", Some("udp_rcv"), *netns, 1)).collect();
        let readings = Readings { mentioned, ..Readings::default() };
        reconcile(&counters, &readings, &drops, &[], SEEN).gaps
    };
    assert_eq!(gaps(vec![7, 8], &[7, 8, 0]), [""; 0]);
    let why = "are not read: no process, and no file that stands for the namespace, was found";
    assert_eq!(gaps(vec![7], &[7, 9, 9]), [format!("the counters of netns 9 {why}")]);
    assert_eq!(gaps(vec![], &[1, 2, 3, 4, 5]), [format!("the counters of netns 1, 2, 3 and 2 more {why}")]);
}
