//! Sample totals for the tests of the screen.

use std::sync::Arc;
use std::time::Duration;

use crate::advice::Selection;
use crate::domain::event::{Location, NamedKey, Origin, Reason, Symbol, Timestamp};
use crate::domain::facts::Role;
use crate::domain::ledger::{EbpfLedger, Ledger};
use crate::domain::owner::Owner;
use crate::domain::report::{Host, SourceReport, StatReport};
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::filter::{Filter, FilterError};
use crate::sink::samples::NEW_YEAR;

use super::knowledge::Knowledge;
use super::model::{CheckFilter, Model};

pub(crate) struct AllowAll;

impl CheckFilter for AllowAll {
    fn check(&self, _filter: &Filter) -> Result<(), FilterError> {
        Ok(())
    }
}

pub(crate) fn key(reason: &str, function: &str, netns: Option<&str>) -> NamedKey {
    let number = reason.bytes().map(u32::from).sum();
    let symbol = Symbol { name: function.into(), offset: 0x1a7, module: None };
    let address = 0xffff_ffff_8200_0000 + function.bytes().map(u64::from).sum::<u64>();
    NamedKey {
        reason: Arc::new(Reason { value: Some(number), subsystem: "core".into(), name: reason.into() }),
        location: Arc::new(Location { address, symbol: Some(symbol), trap_group: None }),
        protocol: 0x0800,
        interface: Some("eth0".into()),
        ifindex: 2,
        netns: 4_026 + netns.map_or(0, |name| u32::try_from(name.len()).unwrap()),
        netns_name: netns.map(Into::into),
        ..NamedKey::default()
    }
}

pub(crate) fn owned(reason: &str, pod: &str, container: &str) -> NamedKey {
    let owner = Owner {
        cgroup: Some("/kubepods/pod1/2".into()),
        container: Some(container.into()),
        pod: Some(pod.into()),
        unit: None,
    };
    let cgroup_id = 77 + u64::try_from(pod.len()).unwrap();
    NamedKey {
        socket: Some(Role::Receiver),
        cgroup_id,
        owner: owner.into(),
        ..key(reason, "udp_queue_rcv_one_skb", Some("shop"))
    }
}

pub(crate) fn total(key: NamedKey, packets: u64) -> DropTotal {
    DropTotal {
        key: Arc::new(key),
        packets,
        bytes: Some(packets * 100),
        first_seen: NEW_YEAR,
        last_seen: Timestamp(NEW_YEAR.0 + 9_000_000_000),
        seen_by: Origin::Ebpf.alone(),
        more: 0,
    }
}

/// A report after so many seconds.
pub(crate) fn report(second: u64, drops: Vec<DropTotal>, overflow: u64) -> StatReport {
    let accounted = drops.iter().map(|total| total.packets).sum();
    let hits = accounted + overflow;
    let ledger = Ledger::Ebpf(EbpfLedger { hits, accounted, overflow, ..EbpfLedger::default() });
    StatReport {
        host: Host { name: "lab-1".into(), kernel: "6.18.44".into() },
        started_at: NEW_YEAR,
        duration: Duration::from_secs(second),
        is_final: false,
        sources: vec![SourceReport { mode: "tp_btf", ledger, held_back: vec![] }],
        drops,
        overflow: vec![OverflowTotal { reason: None, packets: overflow, bytes: None }],
        hidden: vec![],
        own_netlink_drops: Some(0),
        stacks: None,
        attribution: None,
        flows: None,
        outside: None,
        past: None,
        retransmissions: None,
        refused: None,
    }
}

/// Drops on a busy host: a storm, a storm that ended, usual drops, drops of a pod.
pub(crate) fn busy(second: u64) -> Vec<DropTotal> {
    vec![
        total(key("NETFILTER_DROP", "nft_do_chain", Some("web")), 1_500 * second.min(20)),
        total(key("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb", None), 120 * second * second),
        total(key("NO_SOCKET", "tcp_v4_rcv", None), 3 * second),
        total(owned("SOCKET_RCVBUFF", "shop/web-7d9f", "nginx"), 40 * second),
        total(key("QUEUE_PURGE", "__skb_queue_purge", Some("web")), 7 * second),
        total(
            NamedKey { interface: Some("eth1".into()), ifindex: 3, ..key("NO_SOCKET", "tcp_v4_rcv", None) },
            2 * second,
        ),
    ]
}

/// The model after `seconds` readings of a busy host.
pub(crate) fn model(seconds: u64) -> Model {
    let selection = Selection::default();
    let mut model = Model::new(Knowledge::built_in(4_026).unwrap(), selection, None);
    for second in 1..=seconds {
        model.read(&report(second, busy(second), 11));
    }
    model
}
