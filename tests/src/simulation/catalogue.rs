//! The series of a fleet: drop reasons at drop sites, by protocol and kind of interface.

use rand::RngExt as _;

use super::draw::{apart, log_uniform, stream};
use super::parameters::{Family, Profile, SERIES, SITE_SKEW};
use Family::{Burst, Closed, Noise, Policy, Rare, Scan, Tcp};

type Sites = &'static [(&'static str, &'static str)];
type Classes = &'static [&'static str];

/// The kind of interface that each host has.
pub(super) const PHYSICAL: &str = "physical";
const WIRE: Classes = &[PHYSICAL, "vlan", "bond"];
const LOCAL: Classes = &[PHYSICAL, "vlan", "bond", "bridge", "virtual", "loopback"];
const INSIDE: Classes = &["bridge", "virtual", "vxlan"];

const TCP: Sites = &[("tcp_v4_rcv", "ipv4"), ("tcp_v6_rcv", "ipv6")];
const TCP_STATE: Sites = &[("tcp_rcv_state_process", "ipv4"), ("tcp_rcv_state_process", "ipv6")];
const TCP_QUEUE: Sites = &[("tcp_data_queue", "ipv4"), ("tcp_data_queue", "ipv6")];
const TCP_CHECK: Sites = &[("tcp_validate_incoming", "ipv4"), ("tcp_validate_incoming", "ipv6")];
const UDP: Sites = &[("__udp4_lib_rcv", "ipv4"), ("__udp6_lib_rcv", "ipv6")];
const UDP_QUEUE: Sites = &[("udp_queue_rcv_one_skb", "ipv4"), ("udpv6_queue_rcv_one_skb", "ipv6")];
const IP: Sites = &[("ip_rcv_core", "ipv4"), ("ip6_rcv_core", "ipv6")];
const ROUTE: Sites = &[("ip_rcv_finish_core", "ipv4"), ("ip6_pkt_drop", "ipv6")];
const NEIGH: Sites = &[("__neigh_event_send", "ipv4"), ("__neigh_event_send", "ipv6"), ("neigh_probe", "arp")];
const HOOK: Sites = &[("nf_hook_slow", "ipv4"), ("nf_hook_slow", "ipv6"), ("nft_do_chain", "ipv4")];
const SEND: Sites = &[("__dev_queue_xmit", "ipv4"), ("__dev_queue_xmit", "ipv6"), ("__dev_queue_xmit", "arp")];
const RECEIVE: Sites =
    &[("__netif_receive_skb_core", "ipv4"), ("__netif_receive_skb_core", "ipv6"), ("__netif_receive_skb_core", "arp")];

/// Reasons with their families, drop sites and kinds of interfaces.
const REASONS: &[(Family, &str, Sites, Classes)] = &[
    (Noise, "UNHANDLED_PROTO", &[("__netif_receive_skb_core", "lldp"), ("__netif_receive_skb_core", "stp")], LOCAL),
    (Noise, "OTHERHOST", IP, LOCAL),
    (Noise, "NOT_SPECIFIED", &[("arp_process", "arp"), ("igmp_rcv", "ipv4"), ("ip6_mc_input", "ipv6")], LOCAL),
    (Noise, "IPV6_NDISC_NS_OTHERHOST", &[("ndisc_rcv", "ipv6")], LOCAL),
    (Noise, "IPV6DISABLED", &[("ip6_rcv_core", "ipv6")], WIRE),
    (Noise, "IP_INNOROUTES", ROUTE, LOCAL),
    (Noise, "UNICAST_IN_L2_MULTICAST", &[("ip_rcv_finish_core", "ipv4")], WIRE),
    (Noise, "IP_NOPROTO", &[("ip_local_deliver_finish", "ipv4"), ("ip6_protocol_deliver_rcu", "ipv6")], WIRE),
    (Scan, "NO_SOCKET", TCP, WIRE),
    (Scan, "TCP_FLAGS", TCP_STATE, WIRE),
    (Scan, "TCP_INVALID_SYN", TCP_CHECK, WIRE),
    (Scan, "IP_INVALID_SOURCE", ROUTE, WIRE),
    (Scan, "IP_RPFILTER", ROUTE, WIRE),
    (Scan, "TCP_RESET", TCP_STATE, WIRE),
    (Scan, "ICMP_CSUM", &[("icmp_rcv", "ipv4"), ("icmpv6_rcv", "ipv6")], WIRE),
    (Tcp, "TCP_OLD_DATA", TCP_QUEUE, LOCAL),
    (Tcp, "TCP_OFOMERGE", TCP_QUEUE, LOCAL),
    (Tcp, "TCP_OVERWINDOW", TCP_QUEUE, LOCAL),
    (Tcp, "TCP_ZEROWINDOW", TCP_QUEUE, LOCAL),
    (Tcp, "TCP_RFC7323_PAWS", TCP_CHECK, WIRE),
    (Tcp, "TCP_RFC7323_TSECR", TCP_CHECK, WIRE),
    (Tcp, "TCP_RFC7323_TW_PAWS", TCP, WIRE),
    (Tcp, "TCP_OLD_SEQUENCE", TCP_CHECK, LOCAL),
    (Tcp, "TCP_INVALID_SEQUENCE", TCP_CHECK, WIRE),
    (Tcp, "TCP_INVALID_END_SEQUENCE", TCP_CHECK, WIRE),
    (Tcp, "TCP_OLD_ACK", TCP_STATE, LOCAL),
    (Tcp, "TCP_TOO_OLD_ACK", TCP_STATE, WIRE),
    (Tcp, "TCP_ACK_UNSENT_DATA", TCP_STATE, WIRE),
    (Tcp, "TCP_CLOSE", TCP_STATE, LOCAL),
    (Tcp, "TCP_ABORT_ON_DATA", TCP_STATE, LOCAL),
    (Tcp, "SOCKET_CLOSE", &[("sk_stream_kill_queues", "ipv4"), ("sk_stream_kill_queues", "ipv6")], LOCAL),
    (Closed, "NO_SOCKET", UDP, LOCAL),
    (Closed, "NEIGH_FAILED", NEIGH, LOCAL),
    (Closed, "NEIGH_QUEUEFULL", NEIGH, LOCAL),
    (Closed, "IP_OUTNOROUTES", &[("__ip_queue_xmit", "ipv4"), ("ip6_pkt_drop", "ipv6")], LOCAL),
    (Closed, "IP_INADDRERRORS", ROUTE, WIRE),
    (Closed, "QUEUE_PURGE", &[("skb_queue_purge_reason", "ipv4"), ("skb_queue_purge_reason", "ipv6")], LOCAL),
    (Burst, "SOCKET_RCVBUFF", UDP_QUEUE, LOCAL),
    (Burst, "SOCKET_BACKLOG", TCP, LOCAL),
    (Burst, "TCP_LISTEN_OVERFLOW", TCP, LOCAL),
    (Burst, "QDISC_DROP", SEND, LOCAL),
    (Burst, "QDISC_OVERLIMIT", SEND, WIRE),
    (Burst, "QDISC_CONGESTED", SEND, WIRE),
    (Burst, "CPU_BACKLOG", &[("enqueue_to_backlog", "ipv4"), ("enqueue_to_backlog", "ipv6")], LOCAL),
    (
        Burst,
        "FULL_RING",
        &[("tun_net_xmit", "ipv4"), ("veth_xmit", "ipv4"), ("veth_xmit", "ipv6")],
        &["tun", "virtual"],
    ),
    (Burst, "TCP_OFO_QUEUE_PRUNE", TCP_QUEUE, LOCAL),
    (Burst, "PROTO_MEM", UDP_QUEUE, LOCAL),
    (Burst, "FQ_FLOW_LIMIT", SEND, WIRE),
    (Policy, "NETFILTER_DROP", HOOK, &[PHYSICAL, "vlan", "bond", "bridge", "virtual", "vxlan", "tun"]),
    (Policy, "BPF_CGROUP_EGRESS", SEND, INSIDE),
    (Policy, "SOCKET_FILTER", &[("sk_filter_trim_cap", "ipv4"), ("sk_filter_trim_cap", "ipv6")], LOCAL),
    (Policy, "TC_INGRESS", RECEIVE, LOCAL),
    (Policy, "TC_EGRESS", SEND, INSIDE),
    (Policy, "XDP", &[("netif_receive_generic_xdp", "ipv4"), ("netif_receive_generic_xdp", "ipv6")], WIRE),
    (Policy, "TAP_FILTER", &[("tun_net_xmit", "ipv4"), ("tun_net_xmit", "ipv6")], &["tun"]),
    (Policy, "VXLAN_VNI_NOT_FOUND", &[("vxlan_rcv", "ipv4"), ("vxlan_rcv", "ipv6")], &["vxlan", PHYSICAL]),
    (Policy, "NO_TX_TARGET", &[("vxlan_xmit", "ipv4"), ("vxlan_xmit", "ipv6"), ("br_flood", "arp")], INSIDE),
    (Rare, "IP_CSUM", &[("ip_rcv_core", "ipv4")], WIRE),
    (Rare, "TCP_CSUM", TCP, WIRE),
    (Rare, "UDP_CSUM", UDP, WIRE),
    (Rare, "SKB_CSUM", UDP_QUEUE, WIRE),
    (Rare, "IP_INHDR", IP, WIRE),
    (Rare, "PKT_TOO_SMALL", IP, WIRE),
    (Rare, "HDR_TRUNC", IP, WIRE),
    (Rare, "PKT_TOO_BIG", &[("ip_forward", "ipv4"), ("ip6_forward", "ipv6")], WIRE),
    (Rare, "DUP_FRAG", &[("ip_frag_queue", "ipv4"), ("ip6_frag_queue", "ipv6")], WIRE),
    (Rare, "FRAG_REASM_TIMEOUT", &[("ip_expire", "ipv4"), ("ip6frag_expire_frag_queue", "ipv6")], WIRE),
    (Rare, "NOMEM", RECEIVE, LOCAL),
    (Rare, "PFMEMALLOC", TCP, WIRE),
    (Rare, "DEV_READY", SEND, &["bridge", "virtual", "tun", "vxlan"]),
    (Rare, "DEV_HDR", &[("tun_get_user", "ipv4"), ("bond_start_xmit", "ipv4")], &["tun", "bond"]),
    (Rare, "SKB_GSO_SEG", &[("validate_xmit_skb", "ipv4"), ("validate_xmit_skb", "ipv6")], LOCAL),
    (Rare, "MAC_INVALID_SOURCE", &[("br_handle_frame_finish", "ipv4"), ("vxlan_rcv", "ipv4")], INSIDE),
    (Rare, "NEIGH_CREATEFAIL", &[("ip_finish_output2", "ipv4"), ("ip6_finish_output2", "ipv6")], LOCAL),
    (Rare, "TCP_OFO_DROP", TCP_QUEUE, WIRE),
];

/// Reasons that only a fault brings into a fleet.
const FAULTS: &[(&str, &str, &str)] = &[
    ("XFRM_POLICY", "ip_forward", "ipv4"),
    ("TCP_MD5FAILURE", "tcp_v4_rcv", "ipv4"),
    ("TCP_MD5NOTFOUND", "tcp_v6_rcv", "ipv6"),
    ("IP_LOCAL_SOURCE", "ip_rcv_finish_core", "ipv4"),
    ("IP_LOCALNET", "ip_rcv_finish_core", "ipv4"),
    ("SECURITY_HOOK", "sk_filter_trim_cap", "ipv4"),
    ("TC_RECLASSIFY_LOOP", "sch_handle_ingress", "ipv4"),
    ("RECURSION_LIMIT", "__dev_queue_xmit", "ipv4"),
    ("FRAG_TOO_FAR", "ip_frag_queue", "ipv4"),
    ("IPV6_BAD_EXTHDR", "ip6_protocol_deliver_rcu", "ipv6"),
    ("SKB_UCOPY_FAULT", "tun_get_user", "ipv4"),
    ("BRIDGE_INGRESS_STP_STATE", "br_handle_frame", "ipv4"),
];

/// A series: an aggregation key, and how its counts are distributed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    pub(super) reason: &'static str,
    pub(super) symbol: &'static str,
    pub(super) protocol: &'static str,
    pub(super) class: &'static str,
    pub(super) family: Family,
    /// Drops a second on a middle host.
    pub(super) rate: f64,
    /// Standard deviation of the logarithm of the rate among hosts.
    pub(super) hosts_apart: f64,
    /// Shape of the gamma factor of a window.
    pub(super) shape: f64,
    pub(super) prevalence: f64,
    pub(super) idle: f64,
    pub(super) rhythm: f64,
    pub(super) traffic: f64,
}

/// The series of a fleet, and after them those that only faults bring in.
pub(super) fn series(profile: &Profile, seed: u64) -> Vec<Series> {
    let mut keys: Vec<_> = REASONS.iter().flat_map(|reason| combinations(*reason)).collect();
    // Each reason's first drop site before the second ones: the order in which they find room.
    keys.sort_by_key(|(rank, _)| *rank);
    keys.truncate(SERIES);
    let mut draws = stream(seed, &[0x7365_7269_6573]);
    let usual = keys.into_iter().map(|(rank, (family, reason, symbol, protocol, class))| {
        let of = family.shape();
        let rarer = f64::from(rank + 1).powf(-SITE_SKEW);
        Series {
            reason,
            symbol,
            protocol,
            class,
            family,
            rate: of.rate * rarer * apart(of.series_apart, &mut draws),
            hosts_apart: of.hosts_apart * profile.apart_times,
            shape: log_uniform(of.gamma, &mut draws) * profile.shape_times,
            prevalence: draws.random_range(of.prevalence.0..=of.prevalence.1),
            idle: of.idle * profile.idle_times,
            rhythm: of.rhythm,
            traffic: of.traffic,
        }
    });
    usual.chain(FAULTS.iter().copied().map(of_fault)).collect()
}

type Key = (Family, &'static str, &'static str, &'static str, &'static str);

/// The drop sites of a reason by kind of interface, with their rank among those of the reason.
fn combinations(
    (family, reason, sites, classes): (Family, &'static str, Sites, Classes),
) -> impl Iterator<Item = (u32, Key)> {
    let all = classes.iter().flat_map(move |class| {
        sites.iter().map(move |(symbol, protocol)| (family, reason, *symbol, *protocol, *class))
    });
    (0..).zip(all)
}

/// No host has it by itself.
const fn of_fault((reason, symbol, protocol): (&'static str, &'static str, &'static str)) -> Series {
    Series {
        reason,
        symbol,
        protocol,
        class: PHYSICAL,
        family: Rare,
        rate: 0.0,
        hosts_apart: 0.0,
        shape: 1.0,
        prevalence: 0.0,
        idle: 0.0,
        rhythm: 0.0,
        traffic: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use droptrace_base::explain::Explanations;

    use super::*;
    use crate::simulation::FleetKind;

    #[test]
    fn series_are_distinct_and_their_reasons_are_known() {
        let known = Explanations::built_in().unwrap();
        let known: BTreeSet<_> = known.iter().map(|(name, _)| name.to_owned()).collect();
        for kind in [FleetKind::Web, FleetKind::Mixed] {
            let all = series(kind.profile(), 1);
            assert_eq!(all.len(), SERIES + FAULTS.len());
            let keys: BTreeSet<_> = all.iter().map(|it| (it.reason, it.symbol, it.protocol, it.class)).collect();
            assert_eq!(keys.len(), all.len());
            let unknown: Vec<_> = all.iter().filter(|it| !known.contains(it.reason)).map(|it| it.reason).collect();
            assert_eq!(unknown, Vec::<&str>::new());
            let reasons = |part: &[Series]| part.iter().map(|it| it.reason).collect::<BTreeSet<_>>();
            assert!(reasons(&all[..SERIES]).is_disjoint(&reasons(&all[SERIES..])));
        }
    }
}
