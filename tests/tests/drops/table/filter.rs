//! Packets that a filter drops: nftables, xfrm, traffic control, XDP, control groups.

use std::fs::File;
use std::net::UdpSocket;

use anyhow::ensure;
use tests::bpf::{self, Hook, Verdict};
use tests::case::{Case, Interface, Owner};
use tests::cgroup::ControlGroup;
use tests::frame::udp4;
use tests::trials::Unable;
use tests::wire::{SENDER, Wire};
use tests::witness::Witness;

const PORT: u16 = 9;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "nftables_drop",
        reason: "NETFILTER_DROP",
        symbols: &["nf_hook_slow", "nft_do_chain"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Nft),
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.probe(
                "nft add table inet cases
                 nft add counter inet cases drops
                 nft add chain inet cases input { type filter hook input priority 0 ; }
                 nft add rule inet cases input udp dport 9 counter name drops drop",
            )?;
            case.watch(&wire.host, || wire.repeat(case.count, &udp4(PORT)?))
        },
    },
    Case {
        name: "xfrm_policy_blocks",
        reason: "XFRM_POLICY",
        symbols: &["udp_queue_rcv_one_skb", "__udp4_lib_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Xfrm("XfrmInPolBlock")),
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.probe("ip xfrm policy add dir in action block")?;
            let _socket = wire.udp(PORT)?;
            case.watch(&wire.host, || wire.repeat(case.count, &udp4(PORT)?))
        },
    },
    Case {
        name: "tc_ingress_drop",
        reason: "TC_INGRESS",
        symbols: &["sch_handle_ingress", "__netif_receive_skb_core"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Qdisc("host0", "clsact")),
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.probe(
                "tc qdisc add dev host0 clsact
                 tc filter add dev host0 ingress bpf bytecode '1,6 0 0 2' direct-action",
            )?;
            case.watch(&wire.host, || wire.repeat(case.count, &udp4(PORT)?))
        },
    },
    Case {
        name: "tc_egress_drop",
        reason: "TC_EGRESS",
        symbols: &["__dev_queue_xmit", "sch_handle_egress"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Qdisc("host0", "clsact")),
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.probe(
                "tc qdisc add dev host0 clsact
                 tc filter add dev host0 egress bpf bytecode '1,6 0 0 2' direct-action",
            )?;
            let socket = wire.udp(0)?;
            case.watch(&wire.host, || {
                (0..case.count).try_for_each(|_| Ok(socket.send_to(b"droptrace", (SENDER, PORT)).map(drop)?))
            })
        },
    },
    Case {
        name: "xdp_generic_drop",
        // The kernel gives no better one.
        reason: "NOT_SPECIFIED",
        symbols: &["do_xdp_generic", "netif_receive_generic_xdp"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let ifindex = wire.host.ifindex("host0")?;
            let attached = wire.host.run(|| Ok(bpf::xdp(ifindex, Verdict::Drop, Hook::Generic)));
            let _program = attached?.map_err(|error| Unable(format!("attaching XDP: {error}")))?;
            case.watch(&wire.host, || wire.repeat(case.count, &udp4(PORT)?))
        },
    },
    Case {
        name: "xdp_redirect_to_nowhere",
        reason: "XDP",
        symbols: &["do_xdp_generic", "netif_receive_generic_xdp", "__netif_receive_skb_core"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let ifindex = wire.host.ifindex("host0")?;
            let attached = wire.host.run(|| Ok(bpf::xdp(ifindex, Verdict::Redirect, Hook::Generic)));
            let _program = attached?.map_err(|error| Unable(format!("attaching XDP: {error}")))?;
            case.watch(&wire.host, || wire.repeat(case.count, &udp4(PORT)?))
        },
    },
    Case {
        name: "control_group_refuses_egress",
        reason: "BPF_CGROUP_EGRESS",
        symbols: &["ip_finish_output"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let (wire, group) = (Wire::new()?, ControlGroup::new()?);
            let folder = File::open(group.path())?;
            let program = bpf::cgroup_refuse_egress(&folder);
            let _program = program.map_err(|error| Unable(format!("attaching to a control group: {error}")))?;
            group.run(|| {
                let socket = wire.host.run(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
                case.watch(&wire.host, || {
                    for _ in 0..case.count {
                        ensure!(
                            socket.send_to(b"droptrace", (SENDER, PORT)).is_err(),
                            "the control group lets it pass"
                        );
                    }
                    Ok(())
                })
            })
        },
    },
];
