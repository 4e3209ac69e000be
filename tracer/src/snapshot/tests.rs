use droptrace_base::snapshot::{OutsideCounter, Row, RowOwner, Snapshot, read};

use super::*;
use crate::backend::ebpf::Mode;
use crate::dimension::Dimensions;
use crate::domain::attribution::AttributionLedger;
use crate::domain::event::{Location, NamedKey};
use crate::domain::facts::Role;
use crate::domain::owner::Owner;
use crate::domain::reconciliation::{ReconciledCounter, Reconciliation};
use crate::domain::report::StatReport;
use crate::domain::total::DropTotal;
use crate::domain::unavailable::Unavailable;
use crate::identity::devices::Device;
use crate::run::{CaptureBackend as Way, UnavailableBackends};
use crate::sink::samples;

fn report() -> StatReport {
    samples::report(samples::totals_of_two_namespaces(), samples::overflow())
}

fn device(name: &str, ifindex: u32, class: &str, driver: Option<&str>) -> Device {
    Device { name: name.into(), ifindex, class: class.into(), driver: driver.map(Into::into) }
}

fn taken(report: &StatReport) -> Snapshot {
    taken_with(report, None)
}

fn taken_with(report: &StatReport, owners: Option<&Dimensions>) -> Snapshot {
    let backend = Way::Ebpf(Mode::TpBtf);
    let refused = crate::run::UnavailableBackend { backend, why: Unavailable::because("no BTF") };
    let facts = Facts {
        machine: Some("0123456789abcdef".into()),
        build_id: Some("48dc540c8b76".into()),
        devices: &[device("enp0s31f6", 2, "physical", Some("e1000e")), device("lo", 1, "loopback", None)],
        own_netns: samples::HOME,
        backend: Way::Ebpf(Mode::RawTracepoint),
        unavailable: &UnavailableBackends(vec![refused]),
        filter: None,
        owners,
    };
    take(report, &facts).unwrap()
}

fn sample() -> Snapshot {
    taken(&report())
}

fn written(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, snapshot).unwrap();
    bytes
}

#[test]
fn the_document() {
    let text = String::from_utf8(written(&sample())).unwrap().replace("},{", "},\n{");
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    assert_eq!(sample().unaccounted(), Some(0));
}

#[test]
fn taken_snapshot_can_be_read() {
    assert_eq!(read(&written(&sample())[..]).unwrap(), sample());
}

#[test]
fn keys_that_differ_only_in_addresses_and_numbers_are_merged() {
    let mut report = report();
    let DropTotal { key, .. } = report.drops[0].clone();
    let symbol = key.location.symbol.clone();
    let other_boot = Location { address: key.location.address + 0x1000, symbol, trap_group: None };
    let elsewhere = NamedKey { location: other_boot.into(), ifindex: 77, ..(*key).clone() };
    let other = DropTotal { key: elsewhere.into(), packets: 5, bytes: Some(50), ..report.drops[0].clone() };
    report.drops.push(other);
    // The class of the loopback follows from its number.
    let (one, two) = (taken(&report), sample());
    assert_eq!(one.drops.len(), two.drops.len() + 1);
    report.drops.last_mut().unwrap().key =
        NamedKey { ifindex: 1, ..(*report.drops.last().unwrap().key).clone() }.into();
    let one = taken(&report);
    assert_eq!(one.drops.len(), two.drops.len());
    let packets = |snapshot: &Snapshot| snapshot.drops.iter().map(|row| row.packets).sum::<u64>();
    assert_eq!(packets(&one), packets(&two) + 5);
    assert_eq!(one.drops[0].bytes, two.drops[0].bytes.map(|bytes| bytes + 50));
}

#[test]
fn no_address_leaves_the_host() {
    let text = String::from_utf8(written(&sample())).unwrap();
    assert!(!text.contains("0xffff") && !text.contains(&samples::HOME.to_string()), "{text}");
}

#[test]
fn known_devices_have_a_class() {
    let class = |interface: &str| {
        let rows = sample().drops.into_iter();
        rows.filter(|row| row.interface.as_deref() == Some(interface)).map(|row| row.class).collect::<Vec<_>>()
    };
    assert_eq!(class("lo"), [Some("loopback".to_owned())]);
    assert_eq!(class("enp0s31f6"), vec![Some("physical".to_owned()); 2]);
    assert_eq!(class("ovs-system"), [None]);
}

/// The first drops of the sample, of two containers of a pod, and of a receiver whose group ended.
fn report_with_owners() -> StatReport {
    let mut report = report();
    let first = report.drops[0].clone();
    report.drops = (0..)
        .zip([Some("nginx"), Some("redis"), None])
        .map(|(at, container)| {
            let pod = container.map(|_| "shop/web".into());
            let cgroup = container.map(|name| format!("/kubepods/{name}").into());
            let owner = Owner { cgroup, container: container.map(Into::into), pod, unit: None };
            let key = NamedKey {
                socket: Some(Role::Receiver),
                cgroup_id: 4100 + at,
                owner: owner.into(),
                ..(*first.key).clone()
            };
            DropTotal { key: key.into(), packets: 10 + at, ..first.clone() }
        })
        .collect();
    report.attribution = Some(AttributionLedger::of(&report.drops, &report.overflow));
    report
}

#[test]
fn rows_have_the_owners_that_are_asked_for() {
    let owners = |by: &str| {
        let snapshot = taken_with(&report_with_owners(), Some(&Dimensions::owners(by).unwrap()));
        let owner = |row: &Row| {
            let RowOwner { attribution, pod, container, cgroup, .. } = row.owner.clone().unwrap();
            (row.packets, attribution, pod, container, cgroup)
        };
        snapshot.drops.iter().map(owner).collect::<Vec<_>>()
    };
    let known = |packets, pod: Option<&str>, cgroup: Option<&str>| {
        (packets, "attributed".to_owned(), pod.map(Into::into), None, cgroup.map(Into::into))
    };
    let unknown = (12, "unknown".to_owned(), None, None, None);
    assert_eq!(owners("pod"), [known(21, Some("shop/web"), None), unknown.clone()]);
    let cgroups = [known(11, None, Some("/kubepods/redis")), known(10, None, Some("/kubepods/nginx"))];
    assert_eq!(owners("cgroup"), [&[unknown][..], &cgroups].concat());
}

#[test]
fn rows_without_owners_are_as_ever() {
    let (plain, owned) = (taken(&report_with_owners()), report_with_owners());
    assert_eq!(plain.drops.len(), 1);
    let by = Dimensions::owners("pod,container,unit,cgroup,socket").unwrap();
    assert_eq!(*taken_with(&owned, Some(&by)).rows_without_owners(), plain.drops);
    // A backend that does not report owners says nothing of them.
    let silent = StatReport { attribution: None, ..owned };
    assert_eq!(taken_with(&silent, Some(&by)), plain);
}

fn risen(counter: &str, netns: u32, outside: Option<u64>) -> ReconciledCounter {
    ReconciledCounter {
        name: counter.into(),
        class: "not-traceable",
        meaning: "".into(),
        netns,
        netns_number: 1,
        netns_name: None,
        interface: None,
        cpus: vec![],
        rise: 10,
        is_compared: outside.is_some(),
        explained: 0,
        outside: outside.unwrap_or(0),
        covered: Some(0),
        is_untraceable: false,
        listeners: vec![],
    }
}

#[test]
fn losses_outside_are_merged_without_numbers_of_namespaces() {
    let lo = Some(crate::domain::reconciliation::Interface { ifindex: 1, name: Some("lo".into()) });
    let counters = vec![
        risen("rx_dropped", 77, None),
        risen("rx_dropped", 78, Some(4)),
        risen("TcpExtListenDrops", 77, Some(3)),
        risen("TcpExtListenDrops", 78, Some(5)),
        ReconciledCounter { interface: lo, ..risen("rx_dropped", samples::HOME, Some(1)) },
        risen("softnet_dropped", 0, Some(2)),
    ];
    let found = Reconciliation { counters, namespaces: 3, gaps: vec!["netns 77 is not read".into()], readings: 2 };
    let document = taken(&StatReport { outside: Some(found), ..report() });
    let outside = document.outside.as_ref().unwrap();
    assert_eq!((outside.namespaces, outside.gaps), (3, 1));
    let row = |it: &OutsideCounter| (it.counter.clone(), it.own_netns, it.rise, it.outside, it.at_most_outside);
    let refused = ("TcpExtListenDrops".to_owned(), Some(false), 20, Some(8), Some(8));
    // One of the two cannot be compared.
    let of_links = ("rx_dropped".to_owned(), Some(false), 20, Some(4), None);
    let of_host = ("softnet_dropped".to_owned(), None, 10, Some(2), Some(2));
    let own = ("rx_dropped".to_owned(), Some(true), 10, Some(1), Some(1));
    assert_eq!(outside.counters.iter().map(row).collect::<Vec<_>>(), [refused, of_links, of_host, own]);
    assert_eq!(outside.counters[3].class.as_deref(), Some("loopback"));
    assert_eq!(read(&written(&document)[..]).unwrap(), document);
}
