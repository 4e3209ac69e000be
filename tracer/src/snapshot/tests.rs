use super::*;
use crate::backend::ebpf::Mode;
use crate::domain::event::{Location, NamedKey};
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
    let backend = Way::Ebpf(Mode::TpBtf);
    let refused = crate::run::UnavailableBackend { backend, why: Unavailable::because("no BTF") };
    let facts = Facts {
        machine: Some("0123456789abcdef".into()),
        build_id: Some("48dc540c8b76".into()),
        devices: &[device("enp0s31f6", 2, "physical", Some("e1000e")), device("lo", 1, "loopback", None)],
        own_netns: samples::HOME,
        backend: Way::Ebpf(Mode::RawTracepoint),
        unavailable: &UnavailableBackends(vec![refused]),
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
