use std::collections::HashMap;

use super::super::HostFacts;
use super::super::truth::{EventKind, FaultKind, FleetFacts};
use super::*;

fn host(number: usize, rack: &str) -> (String, HostFacts) {
    let name = format!("h{number}");
    let facts = HostFacts {
        host: name.clone(),
        role: "role-00".into(),
        rack: rack.into(),
        kernel: "6.1".into(),
        zone: "here".into(),
        driver: "ice".into(),
        uptime: None,
        reports: true,
    };
    (name, facts)
}

fn fault(id: usize, of: Result<&str, &str>, reason: &str, factor: Option<f64>) -> Fault {
    Fault {
        id,
        kind: if of.is_ok() { FaultKind::Host } else { FaultKind::Rack },
        host: of.ok().map(str::to_owned),
        group: of.err().map(str::to_owned),
        hosts: if of.is_ok() { 1 } else { 4 },
        reason: reason.into(),
        symbol: "s".into(),
        protocol: "ipv4".into(),
        class: "physical".into(),
        factor,
        usual: 10.0,
        expected: 100.0,
        drawn: 100,
        shape: 1.0,
    }
}

/// Rack a has the hosts 0 to 3, rack b 4 to 103.
fn truth() -> Truth {
    let fleet = FleetFacts {
        kind: "web".into(),
        seed: 1,
        hosts: 104,
        reporting: 104,
        series: 1,
        counts: 1_000,
        pairs: 1_006,
        packets: 1,
    };
    let event = Event {
        kind: EventKind::Restart,
        host: Some("h9".into()),
        group: None,
        reason: "BOOT".into(),
        symbol: None,
        factor: 2.0,
    };
    Truth {
        fleet,
        faults: vec![
            fault(0, Ok("h5"), "A", Some(5.0)),
            fault(1, Err("rack=a"), "B", Some(20.0)),
            fault(2, Ok("h1"), "C", None),
        ],
        events: vec![event],
        hosts: (0..104).map(|number| host(number, if number < 4 { "a" } else { "b" })).collect::<HashMap<_, _>>(),
    }
}

fn named(hosts: &[&str], reason: &str, score: f64) -> Finding {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Finding { kind: "outlier".into(), reason: Some(reason.into()), hosts, group: None, score: Some(score) }
}

fn of_group(group: &str, reason: &str) -> Finding {
    Finding { group: Some(group.into()), ..named(&[], reason, 1.0) }
}

fn verdicts(findings: &[Finding]) -> (Vec<Verdict>, Vec<usize>) {
    let score = judge(&truth(), findings);
    (score.claims.iter().map(|claim| claim.verdict).collect(), score.found().into_iter().collect())
}

#[test]
fn host_and_reason_must_both_be_those_of_the_fault() {
    use Verdict::{Event, Repetition, Right, Wrong};
    assert_eq!(verdicts(&[named(&["h5"], "A", 1.0)]), (vec![Right], vec![0]));
    assert_eq!(verdicts(&[named(&["h5"], "B", 1.0), named(&["h6"], "A", 1.0)]), (vec![Wrong, Wrong], vec![]));
    assert_eq!(verdicts(&[named(&["h5", "h5"], "A", 1.0)]), (vec![Right, Repetition], vec![0]));
    assert_eq!(verdicts(&[named(&["h5", "h6", "h7"], "A", 1.0)]), (vec![Right, Wrong, Wrong], vec![0]));
    assert_eq!(verdicts(&[named(&["h9"], "BOOT", 1.0), named(&["h8"], "BOOT", 1.0)]), (vec![Event, Wrong], vec![]));
}

#[test]
fn group_is_found_by_its_name_or_by_half_of_its_hosts() {
    use Verdict::{Part, Repetition, Right, Wrong};
    assert_eq!(verdicts(&[of_group("rack=a", "B"), of_group("folder=a", "B")]), (vec![Right, Repetition], vec![1]));
    assert_eq!(verdicts(&[of_group("rack=a, kernel=6.1", "B")]), (vec![Right], vec![1]));
    assert_eq!(verdicts(&[of_group("rack=b", "B"), of_group("kernel=6.1", "B")]), (vec![Wrong, Wrong], vec![]));
    assert_eq!(verdicts(&[named(&["h0"], "B", 1.0)]), (vec![Part], vec![]));
    assert_eq!(verdicts(&[named(&["h0", "h3"], "B", 1.0)]), (vec![Part, Part], vec![1]));
}

#[test]
fn group_names_the_fault_of_its_host_only_if_it_is_small() {
    assert_eq!(verdicts(&[of_group("rack=a", "C")]), (vec![Verdict::Right], vec![2]));
    assert_eq!(verdicts(&[of_group("rack=b", "A")]), (vec![Verdict::Wrong], vec![]));
}

#[test]
fn findings_without_reason_or_subject_are_not_judged() {
    let without = Finding { reason: None, ..named(&["h5"], "A", 1.0) };
    let score = judge(&truth(), &[without, named(&[], "A", 1.0), of_group("rack=z", "A"), of_group("moon=full", "A")]);
    assert_eq!((score.claims.len(), score.not_judged, score.unknown_groups), (0, 2, 2));
    assert_eq!((score.precision(), score.strict_precision()), (None, None));
}

#[test]
fn curve_goes_from_the_highest_score_to_the_lowest() {
    let findings =
        [named(&["h6"], "A", 2.0), named(&["h5"], "A", 3.0), named(&["h1"], "C", 1.0), named(&["h0", "h1"], "B", 2.0)];
    let (truth, score) = (truth(), judge(&truth(), &findings));
    assert_eq!((score.precision(), score.strict_precision()), (Some(2.0 / 3.0), Some(0.4)));
    let points = curve(&truth, &score);
    let expected = [(3.0, 1, 0, 1.0 / 3.0), (2.0, 1, 1, 2.0 / 3.0), (1.0, 2, 1, 1.0)];
    let found = points.iter().map(|it| (it.least.unwrap(), it.right, it.wrong, it.recall.unwrap()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(points[2].false_positives, Some(0.001));
    let mut text = Vec::new();
    print(&mut text, &truth, &score).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("| host | 1 of 1 (100.0 %) |  |  |  | 1 of 1 (100.0 %) | 2 of 2 (100.0 %) |"), "{text}");
    assert!(text.contains("| rack |  | 1 of 1 (100.0 %) |  |  |  | 1 of 1 (100.0 %) |"), "{text}");
    assert!(text.contains("| 2.0000 | 1 | 1 | 0.6667 | 0.5000 | 1.000e-3 |"), "{text}");
}
