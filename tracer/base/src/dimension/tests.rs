use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::domain::event::{Kind, Location, Reason, Symbol};
use crate::domain::facts::Role;
use crate::domain::flow::Flow;
use crate::domain::identity::Identity;
use crate::domain::owner::{Owner, Process};

fn key() -> NamedKey {
    let symbol = Symbol { name: "udp_rcv".into(), offset: 0x1a7, module: Some("ipv4".into()) };
    NamedKey {
        reason: Arc::new(Reason { value: Some(5), subsystem: "core".into(), name: "NO_SOCKET".into() }),
        location: Arc::new(Location { address: 4711, symbol: Some(symbol), trap_group: None }),
        protocol: 0x0800,
        interface: Some("eth0".into()),
        ifindex: 2,
        netns: 7,
        netns_cookie: 9,
        netns_name: Some("blue".into()),
        socket: Some(Role::Receiver),
        cgroup_id: 4100,
        owner: Arc::new(Owner {
            cgroup: Some("/kubepods/a".into()),
            container: Some("nginx".into()),
            pod: Some("shop/web".into()),
            unit: Some("kubelet.service".into()),
        }),
        flow: Some(Arc::new(Flow {
            source: Some([10, 0, 0, 1].into()),
            destination: Some([0xfd00, 0, 0, 0, 0, 0, 0, 2].into()),
            transport: Some(6),
            source_port: Some(40_000),
            destination_port: Some(443),
            mark: Some(0x10),
            process: Some(Process { pid: 4711, comm: Some("nginx\x1b[2J".into()) }.into()),
            uid: Some(33),
            is_others: false,
        })),
        ..NamedKey::default()
    }
}

fn unknown() -> NamedKey {
    Dimensions::named(&[]).reduce(&key())
}

fn elsewhere(key: &NamedKey) -> Elsewhere<'_> {
    Elsewhere { key, class: None, is_own_netns: None }
}

#[test]
fn names_are_different() {
    let names: BTreeSet<_> = ALL.iter().map(|dimension| dimension.name()).collect();
    assert_eq!(names.len(), ALL.len());
    let labels = || ALL.iter().flat_map(|dimension| dimension.labels());
    assert_eq!(labels().collect::<BTreeSet<_>>().len(), labels().count());
}

/// Each dimension clears its own part of a key, and all of them clear the whole key except its kind.
#[test]
fn clear_makes_the_own_value_unknown() {
    for dimension in ALL {
        let mut cleared = key();
        dimension.clear(&mut cleared);
        assert_ne!(cleared, key(), "{}", dimension.name());
        assert_eq!(dimension.text(&cleared, 80), "-", "{}", dimension.name());
        let others = ALL.iter().filter(|other| other.name() != dimension.name());
        for other in others {
            assert_eq!(other.text(&cleared, 80), other.text(&key(), 80), "{} and {}", dimension.name(), other.name());
        }
    }
    let NamedKey { kind, protocol, interface, ifindex, netns, netns_cookie, netns_name, .. } = unknown();
    assert_eq!((kind, protocol, interface, ifindex), (Kind::Packet, 0, None, 0));
    assert_eq!((netns, netns_cookie, netns_name), (0, 0, None));
    let NamedKey { socket, cgroup_id, owner, flow, .. } = unknown();
    assert_eq!((socket, cgroup_id, owner, flow), (None, 0, Arc::default(), None));
}

#[test]
fn unknown_values_are_null_and_empty() {
    let unknown = unknown();
    let members = Dimensions::all().members(&unknown);
    assert!(members.0.iter().all(|(_, value)| value.is_none()), "{members:?}");
    for dimension in ALL {
        let mut values = Vec::new();
        dimension.label_values(&elsewhere(&unknown), &mut values);
        assert_eq!(values, vec![""; dimension.labels().len()], "{}", dimension.name());
        let mut members = Members::default();
        dimension.snapshot(&elsewhere(&unknown), &mut members);
        assert!(members.0.iter().all(|(_, value)| value.is_none()), "{members:?}");
    }
}

#[test]
fn each_dimension_has_as_many_values_as_labels() {
    for dimension in ALL {
        let mut values = Vec::new();
        let key = key();
        dimension.label_values(&elsewhere(&key), &mut values);
        assert_eq!(values.len(), dimension.labels().len(), "{}", dimension.name());
    }
}

fn label_values(dimension: &dyn Dimension, key: &NamedKey) -> Vec<String> {
    let mut values = Vec::new();
    dimension.label_values(&elsewhere(key), &mut values);
    values.into_iter().map(Cow::into_owned).collect()
}

#[test]
fn owners_have_labels_without_numbers_of_this_host() {
    let values = |key: &NamedKey| ALL[5..].iter().flat_map(|owner| label_values(*owner, key)).collect::<Vec<_>>();
    assert_eq!(values(&key()), ["shop", "web", "nginx", "kubelet.service", "/kubepods/a", "receiver"]);
    let ended = NamedKey { owner: Arc::default(), ..key() };
    assert_eq!(values(&ended), ["", "", "", "", "", "receiver"]);
    let nameless = Owner { pod: Some("5d0e3c1a-0f7e".into()), ..Owner::default() };
    assert_eq!(values(&NamedKey { owner: nameless.into(), ..key() })[..2], ["", "5d0e3c1a-0f7e"]);
}

#[test]
fn only_owners_are_owners() {
    let names = |by: Dimensions| by.iter().map(Dimension::name).collect::<Vec<_>>();
    assert_eq!(Dimensions::owners("container, pod").map(names), Ok(vec!["pod", "container"]));
    let error = Dimensions::owners("pod,netns").unwrap_err();
    assert_eq!(error, r#""netns" is not one of these owners: pod, container, unit, cgroup, socket"#);
    assert!(Dimensions::owners("").is_err());
}

#[test]
fn members_are_those_of_the_chosen_dimensions() {
    let by: Dimensions = "protocol, reason".parse().unwrap();
    let text = serde_json::to_string(&by.members(&key())).unwrap();
    assert_eq!(text, r#"{"reason":"NO_SOCKET","subsystem":"core","protocol":"ipv4"}"#);
}

#[test]
fn flow_stands_for_the_parts_of_a_connection() {
    let by: Dimensions = "flow,mark".parse().unwrap();
    let text = serde_json::to_string(&by.members(&key())).unwrap();
    assert_eq!(
        text,
        r#"{"src":"10.0.0.1","sport":40000,"dst":"fd00::2","dport":443,"transport":"tcp","mark":16,"is_other_flows":false}"#
    );
    let shown: Vec<_> = by.iter().map(|dimension| dimension.text(&key(), 80).into_owned()).collect();
    assert_eq!(shown, ["10.0.0.1", "40000", "fd00::2", "443", "tcp", "0x10"]);
}

#[test]
fn processes_and_users_have_the_members_of_single_drops() {
    let by: Dimensions = "user,process".parse().unwrap();
    let text = serde_json::to_string(&by.members(&key())).unwrap();
    assert_eq!(text, r#"{"process":{"pid":4711,"comm":"nginx\u001b[2J"},"uid":33,"is_other_flows":false}"#);
    let shown: Vec<_> = by.iter().map(|dimension| dimension.text(&key(), 80).into_owned()).collect();
    assert_eq!(shown, ["nginx\u{fffd}[2J[4711]", "33"]);
    let socketless = NamedKey { flow: Some(Arc::default()), ..key() };
    assert!(by.iter().all(|dimension| dimension.text(&socketless, 80) == "-"));
    for other in ["process", "user", "src"] {
        assert!(Dimensions::owners(other).is_err(), "{other}");
    }
}

/// The row of other flows stays apart from packets whose addresses are unknown.
#[test]
fn other_flows_are_no_unknown_flow() {
    let by: Dimensions = "dport".parse().unwrap();
    let of = |is_others| NamedKey { flow: Some(Flow { is_others, ..Flow::default() }.into()), ..key() };
    let shown = |is_others| by.iter().map(|one| one.text(&of(is_others), 80).into_owned()).collect::<Vec<_>>();
    assert_eq!((shown(false), shown(true)), (vec!["-".to_owned()], vec!["(others)".to_owned()]));
    assert_ne!(Identity::from(&by.reduce(&of(false))), Identity::from(&by.reduce(&of(true))));
}

#[test]
fn an_unknown_dimension_is_refused_with_the_known_ones() {
    let error = "reason,colour".parse::<Dimensions>().unwrap_err();
    assert_eq!(
        error,
        r#""colour" is not a dimension; the dimensions are flow, reason, site, interface, protocol, netns, pod, container, unit, cgroup, socket, process, user, src, sport, dst, dport, transport, mark"#
    );
    assert!("".parse::<Dimensions>().is_err());
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let key = NamedKey { interface: Some("eth0\x1b[2J".into()), netns_name: Some("a\nb".into()), ..key() };
    for dimension in ALL {
        assert!(!dimension.text(&key, 80).contains(char::is_control), "{}", dimension.name());
    }
}
