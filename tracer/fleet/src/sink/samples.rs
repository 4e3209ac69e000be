//! A sample fleet with findings, for tests.

use droptrace_base::domain::event::Timestamp;

use crate::analyse::Options;
use crate::model::{Fleet, Key};
use crate::report::{Input, Refused, Report};

/// 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600 * 1_000_000_000);

/// The number of hosts with ten seconds each.
pub(crate) fn fleet(hosts: u32) -> Fleet {
    let mut fleet = Fleet::default();
    fleet.time = Some(START..Timestamp(START.0 + 10_000_000_000));
    for number in 0..hosts {
        let id = fleet.host(&format!("web-{number:02}"));
        let host = fleet.host_mut(id);
        host.kernel = Some("6.12.95".into());
        host.backend = Some("ebpf/tp_btf".into());
        host.seconds = 10.0;
        let full = fleet.key(Key {
            reason: Some("SOCKET_RCVBUFF"),
            subsystem: Some("core"),
            symbol: Some("udp_queue_rcv_one_skb"),
            protocol: Some("ipv4"),
            class: Some("physical"),
            ..Key::default()
        });
        fleet.add(id, full, f64::from(400 + 50 * (number % 7)));
        let closed = fleet.key(Key {
            reason: Some("NO_SOCKET"),
            subsystem: Some("core"),
            symbol: Some("tcp_v4_rcv"),
            ..Key::default()
        });
        fleet.add(id, closed, f64::from(20 + number % 3));
    }
    fleet
}

/// A fleet with a baseline, a host that stands out, a new reason, a silent host and one that lost drops.
pub(crate) fn report() -> Report {
    let mut now = fleet(12);
    now.baseline = Some(Box::new(fleet(13)));
    let full = now.key(Key {
        reason: Some("SOCKET_RCVBUFF"),
        subsystem: Some("core"),
        symbol: Some("udp_queue_rcv_one_skb"),
        ..Key::default()
    });
    let broken = now.key(Key {
        reason: Some("TCP_CSUM"),
        subsystem: Some("core"),
        symbol: Some("tcp_v4_rcv"),
        ..Key::default()
    });
    let loud = now.host("web-07");
    now.add(loud, full, 900_000.0);
    let ill = now.host("web-03");
    now.add(ill, broken, 250.0);
    now.host_mut(ill).lost = Some(17.0.into());
    let refused = Refused { file: "rack/cut.json".into(), why: "the snapshot is truncated".into() };
    let input = Input { read: 12, baseline_read: 13, refused: vec![refused], passed_over: 1, ..Input::of_snapshots() };
    Report::of(&now, input, &Options::default())
}
