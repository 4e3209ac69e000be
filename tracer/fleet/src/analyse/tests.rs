#![expect(clippy::float_cmp, reason = "whole numbers")]

use droptrace_base::domain::event::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::finding::{Kind, Severity};
use crate::model::{Burst, HostId, Key, KeyId, Silence};

const REASON: &str = "SOCKET_RCVBUFF";

fn core(reason: &'static str) -> Key<'static> {
    Key { reason: Some(reason), subsystem: Some("core"), symbol: Some("udp_rcv"), ..Key::default() }
}

/// Hosts with equal drops of one reason, in an hour.
fn fleet(hosts: usize) -> Fleet {
    let mut fleet = Fleet::default();
    for number in 0..hosts {
        let id = fleet.host(&format!("h{number:03}"));
        fleet.host_mut(id).seconds = 3600.0;
        fleet.host_mut(id).kernel = Some("6.12.1".into());
        add(&mut fleet, number, core(REASON), 1_000.0 + 10.0 * f64::from(u32::try_from(number % 10).unwrap()));
    }
    fleet
}

fn add(fleet: &mut Fleet, host: usize, key: Key<'_>, packets: f64) -> (HostId, KeyId) {
    let (host, key) = (fleet.host(&format!("h{host:03}")), fleet.key(key));
    assert!(fleet.add(host, key, packets));
    (host, key)
}

fn findings(fleet: &Fleet) -> Vec<Finding> {
    analyse(fleet, &Options::default())
}

/// The only finding.
fn one(fleet: &Fleet) -> Finding {
    let mut findings = findings(fleet);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

fn names(finding: &Finding) -> Vec<&str> {
    finding.hosts.named.iter().map(|host| host.name.as_str()).collect()
}

fn figure(finding: &Finding, what: &str) -> f64 {
    finding.evidence.iter().find(|figure| figure.what == what).unwrap().value
}

#[test]
fn hosts_alike_are_no_finding() {
    assert_eq!(findings(&fleet(50)), []);
    assert_eq!(findings(&Fleet::default()), []);
}

#[test]
fn a_host_that_drops_far_more_stands_out() {
    let mut fleet = fleet(50);
    add(&mut fleet, 7, core(REASON), 1e6);
    let finding = one(&fleet);
    assert_eq!((finding.kind, names(&finding)), (Kind::Outlier, vec!["h007"]));
    assert_eq!(finding.title, "1 host drops far more for SOCKET_RCVBUFF than others with kernel=6.12.1");
    assert!((figure(&finding, "foremost host") - 1_001_070.0 / 3600.0).abs() < 1e-9);
    assert!(finding.q_value.unwrap() < 1e-4 && finding.effect.unwrap().times > 900.0);
    assert!(finding.meaning.contains("Usual:") && !finding.next.is_empty());
}

#[test]
fn groups_that_are_too_small_are_compared_with_all() {
    let mut fleet = fleet(50);
    let alone = fleet.host("h007");
    fleet.host_mut(alone).kernel = Some("6.99.0".into());
    assert_eq!(findings(&fleet), []);
    add(&mut fleet, 7, core(REASON), 1e6);
    let finding = one(&fleet);
    assert_eq!((names(&finding), finding.group.as_deref()), (vec!["h007"], None));
}

#[test]
fn few_hosts_of_a_reason_are_not_compared_but_their_sums_are() {
    let mut fleet = fleet(50);
    for host in 0..4 {
        add(&mut fleet, host, core("NO_SOCKET"), 200.0);
    }
    assert_eq!(findings(&fleet), []);
    add(&mut fleet, 3, core("NO_SOCKET"), 1e6);
    let finding = one(&fleet);
    assert_eq!((names(&finding), finding.reason.as_deref()), (vec!["h003"], Some("NO_SOCKET")));
    assert!(finding.title.ends_with("mostly for NO_SOCKET"), "{}", finding.title);
}

#[test]
fn classes_of_interfaces_are_compared_apart_if_wanted() {
    let mut fleet = fleet(50);
    let at = |class| Key { class: Some(class), ..core("NO_SOCKET") };
    for host in 0..50 {
        add(&mut fleet, host, at("physical"), 1e6);
        add(&mut fleet, host, at("bridge"), 100.0);
    }
    add(&mut fleet, 9, at("bridge"), 1e5);
    let title = "1 host drops far more for NO_SOCKET at udp_rcv (bridge interfaces) than others with kernel=6.12.1";
    assert_eq!(one(&fleet).title, title, "its sum for the reason is as that of others");
    let by_class = Options { by: vec![By::Class], ..Options::default() };
    let findings = analyse(&fleet, &by_class);
    assert_eq!(findings[0].title, "1 host drops far more for NO_SOCKET at bridge interfaces than others");
    assert_eq!((findings.len(), names(&findings[0])), (1, vec!["h009"]));
}

#[test]
fn a_kernel_whose_hosts_all_drop_more_is_one_finding() {
    let mut fleet = fleet(60);
    for host in 0..15 {
        let (id, _) = add(&mut fleet, host, core(REASON), 20_000.0);
        fleet.host_mut(id).kernel = Some("6.18.5".into());
    }
    let finding = one(&fleet);
    assert_eq!((finding.kind, finding.hosts.count), (Kind::Group, 15));
    assert_eq!(finding.group.as_deref(), Some("kernel=6.18.5"));
    assert!(finding.title.starts_with("hosts with kernel=6.18.5 drop 20 times as much for SOCKET_RCVBUFF"));
}

#[test]
fn reason_absent_from_the_baseline_is_new() {
    let mut now = fleet(50);
    now.baseline = Some(Box::new(fleet(50)));
    add(&mut now, 3, core("TCP_CSUM"), 99.0);
    assert_eq!(findings(&now), [], "too few");
    add(&mut now, 4, core("TCP_CSUM"), 1.0);
    let finding = one(&now);
    assert_eq!((finding.kind, finding.severity), (Kind::NewReason, Severity::Critical));
    assert_eq!((finding.title.as_str(), names(&finding)), ("TCP_CSUM is new: on 2 hosts", vec!["h003", "h004"]));
    // A baseline of a moment would have lacked the reason, too.
    let mut short = fleet(50);
    for host in 0..50 {
        let id = short.host(&format!("h{host:03}"));
        short.host_mut(id).seconds = 10.0;
    }
    now.baseline = Some(Box::new(short));
    assert!(findings(&now).iter().all(|finding| finding.kind != Kind::NewReason));
}

#[test]
fn a_new_reason_is_one_finding_however_many_drops_a_host_has() {
    let mut now = fleet(50);
    now.baseline = Some(Box::new(fleet(50)));
    for packets in [1e3, 1e5, 1e7] {
        add(&mut now, 3, core("TCP_CSUM"), packets);
        let finding = one(&now);
        assert_eq!((finding.kind, names(&finding)), (Kind::NewReason, vec!["h003"]));
    }
    // Of several hosts with the reason, the one that has far more than others is named.
    for host in 4..50 {
        add(&mut now, host, core("TCP_CSUM"), 1e3);
    }
    let findings = findings(&now);
    let kinds: Vec<_> = findings.iter().map(|finding| (finding.kind, finding.hosts.count)).collect();
    assert_eq!(kinds, [(Kind::NewReason, 47), (Kind::Outlier, 1)]);
}

#[test]
fn drop_sites_are_compared_without_compiler_suffixes() {
    let mut now = fleet(50);
    now.baseline = Some(Box::new(fleet(50)));
    add(&mut now, 3, Key { symbol: Some("udp_rcv.constprop.0"), ..core(REASON) }, 500.0);
    assert_eq!(findings(&now), []);
    add(&mut now, 3, Key { symbol: Some("udp_unicast_rcv"), ..core(REASON) }, 500.0);
    add(&mut now, 5, Key { symbol: Some("udp_other"), ..core(REASON) }, 200.0);
    let finding = one(&now);
    assert_eq!(finding.title, "SOCKET_RCVBUFF at udp_unicast_rcv and at 1 more is new: on 1 host");
    assert_eq!((finding.kind, figure(&finding, "new sites")), (Kind::NewSite, 2.0));
}

#[test]
fn rate_far_above_the_baseline_is_a_finding_and_one_host_is_not_the_fleet() {
    let mut now = fleet(50);
    let mut before = fleet(50);
    for host in 0..50 {
        add(&mut now, host, core("NO_SOCKET"), 5_000.0);
        add(&mut before, host, core("NO_SOCKET"), 100.0);
    }
    // Alone, the host would raise the sum of the fleet.
    add(&mut now, 7, core(REASON), 1e6);
    now.baseline = Some(Box::new(before));
    let findings = findings(&now);
    let reported: Vec<_> = findings.iter().map(|finding| (finding.kind, finding.reason.as_deref().unwrap())).collect();
    assert_eq!(reported, [(Kind::Outlier, REASON), (Kind::Grown, "NO_SOCKET")]);
    assert_eq!(findings[1].title, "NO_SOCKET is 50 times the baseline's, on 50 hosts");
}

#[test]
fn hosts_of_the_baseline_without_reports_are_silent() {
    let mut now = fleet(50);
    now.baseline = Some(Box::new(fleet(52)));
    let id = now.host("h003");
    now.host_mut(id).silence = Some(Silence { seconds: Some(600.0), why: "its target is down".into() });
    let finding = one(&now);
    assert_eq!((finding.kind, finding.severity), (Kind::Silent, Severity::Warning));
    assert_eq!(names(&finding), ["h003", "h050", "h051"]);
    assert_eq!(figure(&finding, "known"), 52.0);
    now.baseline = Some(Box::new(fleet(60)));
    assert_eq!(one(&now).severity, Severity::Critical);
}

#[test]
fn ledgers() {
    let mut fleet = fleet(50);
    for (host, lost) in [(3, Some(500.0)), (4, Some(7.0)), (5, None)] {
        let id = fleet.host(&format!("h{host:03}"));
        fleet.host_mut(id).lost = lost.map(Into::into);
        fleet.host_mut(id).backend = Some("net_dm/summary".into());
    }
    let id = fleet.host("h009");
    fleet.host_mut(id).unbalanced = 1;
    let findings = findings(&fleet);
    let reported: Vec<_> = findings.iter().map(|finding| (finding.kind, names(finding))).collect();
    let unknown = (Kind::LossUnknown, vec!["h005"]);
    assert_eq!(reported, [(Kind::Loss, vec!["h003", "h004"]), (Kind::Unbalanced, vec!["h009"]), unknown]);
    assert_eq!(figure(&findings[0], "lost"), 507.0);
}

#[test]
fn storms_are_high_above_the_mean() {
    let mut fleet = fleet(50);
    let (host, key) = add(&mut fleet, 7, core(REASON), 10_000.0);
    let burst = Burst { host, key, rate: 2_000.0, seconds: 10.0, at: Some(Timestamp(5_000_000_000)) };
    let storm = |fleet: &Fleet| findings(fleet).into_iter().find(|finding| finding.kind == Kind::Storm);
    fleet.bursts = vec![Burst { rate: 900.0, ..burst }];
    assert_eq!(storm(&fleet), None);
    fleet.bursts.push(burst);
    let finding = storm(&fleet).unwrap();
    assert_eq!(names(&finding), ["h007"]);
    assert_eq!((figure(&finding, "highest rate"), figure(&finding, "began")), (2_000.0, 5.0));
    // A constant rate of the same height is not a storm.
    add(&mut fleet, 7, core(REASON), 2_000.0 * 3600.0);
    assert_eq!(storm(&fleet), None);
}

#[test]
fn reasons_that_no_healthy_host_has_are_critical() {
    let mut now = fleet(50);
    add(&mut now, 3, core("TCP_CSUM"), 150.0);
    let finding = one(&now);
    assert_eq!((finding.kind, finding.severity), (Kind::Unhealthy, Severity::Warning));
    let mut before = fleet(50);
    add(&mut before, 3, core("TCP_CSUM"), 120.0);
    now.baseline = Some(Box::new(before));
    assert_eq!(one(&now).severity, Severity::Notice);
}

#[test]
fn only_so_many_hosts_are_named() {
    let mut fleet = fleet(1_000);
    for host in 0..9 {
        add(&mut fleet, host, core(REASON), 1e6 + f64::from(u32::try_from(host).unwrap()));
    }
    let finding = one(&fleet);
    assert_eq!((finding.hosts.count, names(&finding)), (9, vec!["h008", "h007", "h006", "h005", "h004"]));
}

/// An arbitrary entry of a fleet.
#[derive(Clone, Debug)]
struct Entry {
    host: usize,
    reason: Option<usize>,
    packets: f64,
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let packets = prop_oneof![(0_u32..2_000_000).prop_map(f64::from), Just(f64::NAN), Just(1e308), Just(-1.0)];
    let entry = (0_usize..30, prop::option::of(0_usize..4), packets);
    prop::collection::vec(entry.prop_map(|(host, reason, packets)| Entry { host, reason, packets }), 0..150)
}

fn filled(entries: &[Entry], seconds: f64) -> Fleet {
    const REASONS: [&str; 4] = [REASON, "NO_SOCKET", "TCP_CSUM", "no such reason"];
    let mut fleet = Fleet::default();
    for entry in entries {
        let host = fleet.host(&format!("h{}", entry.host));
        fleet.host_mut(host).seconds = seconds;
        fleet.host_mut(host).kernel = Some(format!("6.{}", entry.host % 2));
        fleet.host_mut(host).lost = (entry.host != 1).then_some(u64::from(entry.host == 2).into());
        let reason = entry.reason.map(|reason| REASONS[reason]);
        let key = fleet.key(Key { reason, subsystem: reason.and(Some("core")), ..Key::default() });
        fleet.add(host, key, entry.packets);
        fleet.bursts.push(Burst { host, key, rate: entry.packets, seconds: 1.0, at: None });
    }
    fleet
}

proptest! {
    #[test]
    fn nothing_depends_on_the_order(
        (now, shuffled) in entries().prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle())),
        before in entries(),
    ) {
        // Sums of whole numbers are the same in any order.
        let whole = |entries: &[Entry]| -> Vec<_> {
            entries.iter().filter(|entry| entry.packets < 1e7).cloned().collect()
        };
        let of = |entries: &[Entry]| {
            let mut fleet = filled(&whole(entries), 60.0);
            fleet.baseline = Some(Box::new(filled(&whole(&before), 60.0)));
            findings(&fleet)
        };
        prop_assert_eq!(of(&now), of(&shuffled));
    }

    #[test]
    fn whatever_a_fleet_is_filled_with(
        now in entries(),
        before in entries(),
        seconds in prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(-5.0), Just(1e-300), 1.0..1e6_f64],
    ) {
        let mut fleet = filled(&now, seconds);
        fleet.baseline = Some(Box::new(filled(&before, seconds)));
        for finding in findings(&fleet) {
            prop_assert!(!finding.title.is_empty() && !finding.meaning.contains("  "));
            prop_assert!(finding.hosts.count >= finding.hosts.named.len() && finding.hosts.named.len() <= 5);
            prop_assert!(finding.evidence.iter().all(|figure| !figure.value.is_nan()), "{finding:?}");
        }
    }
}

#[test]
fn owner_of_most_drops_of_a_reason_is_named() {
    let mut owned = fleet(3);
    let all: f64 = owned.counts().iter().map(|count| count.packets.float()).sum();
    for (number, packets) in [(0, 900), (1, 800), (2, 10)] {
        let (host, key) = (owned.host(&format!("h{number:03}")), owned.key(core(REASON)));
        owned.add_owned(host, key, if number == 2 { "shop/db" } else { "shop/web" }, u64::try_from(packets).unwrap());
    }
    let finding = one(&owned);
    assert_eq!((finding.kind, finding.owner.as_deref()), (Kind::Owner, Some("shop/web")));
    assert_eq!(names(&finding), ["h000", "h001"]);
    assert_eq!(figure(&finding, "share of all drops of this reason"), 100.0 * 1_700.0 / all);
    assert!(finding.title.ends_with(" of SOCKET_RCVBUFF are packets of shop/web, on 2 hosts"), "{}", finding.title);

    // Drops without a known owner may be of others.
    let key = core(REASON);
    add(&mut owned, 2, key, 10_000.0);
    let kinds: Vec<_> = findings(&owned).iter().map(|finding| finding.kind).collect();
    assert!(!kinds.contains(&Kind::Owner), "{kinds:?}");
}

/// The fleet with so many packets that some hosts lost by a counter, and hosts that know their counters from `known` on.
fn losing(hosts: usize, losses: &[(usize, f64)]) -> Fleet {
    let mut fleet = fleet(hosts);
    for number in 0..hosts {
        let id = fleet.host(&format!("h{number:03}"));
        let host = fleet.host_mut(id);
        host.outside = Some(std::collections::BTreeMap::new());
        let lost = losses.iter().find(|(losing, _)| *losing == number);
        assert!(host.add_outside("TcpExtListenDrops", lost.map_or(0.0, |(_, lost)| *lost).into()));
    }
    fleet
}

#[test]
fn host_that_loses_packets_outside_alone_is_found() {
    let finding = one(&losing(20, &[(7, 820.0)]));
    assert_eq!((finding.kind, finding.severity), (Kind::Outside, Severity::Warning));
    assert_eq!(finding.title, "1 host loses packets outside kfree_skb, and most others do not: TcpExtListenDrops");
    assert_eq!((names(&finding), finding.counter.as_deref()), (vec!["h007"], Some("TcpExtListenDrops")));
    assert_eq!((figure(&finding, "lost there"), figure(&finding, "hosts whose counters are known")), (820.0, 20.0));
    assert!(finding.meaning.contains("connection attempts that a listener gave up") && !finding.next.is_empty());
    assert_eq!(findings(&losing(20, &[(7, 99.0)])), [], "too few packets");
    assert_eq!(one(&losing(3, &[(1, 100.0)])).severity, Severity::Notice, "few hosts to compare with");
    assert_eq!(findings(&losing(1, &[(0, 820.0)])), [], "no other host");
}

#[test]
fn host_that_loses_far_more_outside_than_others_is_found() {
    let mut losses: Vec<_> = (0..20).zip([100.0, 105.0, 110.0, 115.0].into_iter().cycle()).collect();
    assert_eq!(findings(&losing(20, &losses)), [], "all hosts lose about the same");
    losses[3].1 = 90_000.0;
    let finding = one(&losing(20, &losses));
    assert_eq!((finding.kind, names(&finding)), (Kind::Outside, vec!["h003"]));
    let title = "1 host loses far more outside kfree_skb than others with kernel=6.12.1: TcpExtListenDrops";
    assert_eq!((finding.title.as_str(), figure(&finding, "lost there")), (title, 90_000.0));
}
