use super::*;
use crate::pipeline::reconcile::tests::row;

const HERE: u32 = 4_026_532_201;
const SEEN: Unseen = Unseen { packets: 0, is_partial: false };

/// Readings of the counters in one namespace.
fn readings(rises: &[(&str, u64)]) -> Arc<Readings> {
    let present: Vec<_> = Counters::built_in().unwrap().iter().map(|(name, _)| name.into()).collect();
    let rise = |(counter, rise): &(&str, u64)| Rise {
        counter: (*counter).into(),
        netns: HERE,
        netns_number: 1,
        netns_name: None,
        rise: *rise,
        ..Rise::default()
    };
    Arc::new(Readings {
        rises: rises.iter().map(rise).collect(),
        namespaces: 1,
        read: vec![(HERE, 1)],
        present,
        ..Readings::default()
    })
}

/// Adds a reading of the drops, with one counter before and after it.
fn add(brackets: &mut Brackets, counter: &str, [before, after]: [u64; 2], drops: &[DropTotal], unseen: Unseen) {
    brackets.add([&readings(&[(counter, before)]), &readings(&[(counter, after)])], drops, &[], unseen);
}

fn no_ports(packets: u64) -> Vec<DropTotal> {
    vec![row("NO_SOCKET", Some("__udp4_lib_rcv"), HERE, packets)]
}

/// The verdicts of two readings: nothing, then these drops and this counter.
fn verdict(counter: &str, around: [u64; 2], drops: &[DropTotal]) -> Verdict {
    let mut brackets = Brackets::new(Counters::built_in().unwrap());
    add(&mut brackets, counter, [0, 0], &[], SEEN);
    add(&mut brackets, counter, around, drops, SEEN);
    let rows = brackets.rows();
    rows.iter().find(|row| *row.name == *counter).map_or(Verdict::Agrees, |row| row.verdict)
}

#[test]
fn exact_counter_is_wrong_only_outside_its_bracket() {
    for (around, packets, expected) in [
        ([20, 20], 20, Verdict::Agrees),
        ([18, 23], 20, Verdict::Agrees),
        ([20, 25], 20, Verdict::Agrees),
        ([21, 25], 20, Verdict::Missing(1)),
        ([10, 19], 20, Verdict::Excess(1)),
        ([0, 0], 20, Verdict::Excess(20)),
    ] {
        assert_eq!(verdict("UdpNoPorts", around, &no_ports(packets)), expected, "{around:?}");
    }
}

#[test]
fn a_lack_that_later_drops_hide_is_seen_in_its_own_bracket() {
    let mut brackets = Brackets::new(Counters::built_in().unwrap());
    add(&mut brackets, "UdpNoPorts", [0, 4], &no_ports(0), SEEN);
    add(&mut brackets, "UdpNoPorts", [9, 9], &no_ports(4), SEEN);
    add(&mut brackets, "UdpNoPorts", [9, 9], &no_ports(6), SEEN);
    assert_eq!(brackets.readings(), 3);
    let rows = brackets.rows();
    assert_eq!((rows[0].verdict, rows[0].least, rows[0].most, rows[0].explained), (Verdict::Excess(2), 5, 9, 6));
}

#[test]
fn drops_that_another_counter_may_count_are_no_excess() {
    // Data that finds no room raises one of two counters.
    let drops = [row("PROTO_MEM", Some("tcp_data_queue"), HERE, 5)];
    assert_eq!(verdict("TcpExtTCPOFODrop", [0, 0], &drops), Verdict::Agrees);
    assert_eq!(verdict("TcpExtTCPOFODrop", [6, 6], &drops), Verdict::Missing(1));
}

#[test]
fn drops_without_a_reason_or_lost_ones_may_be_the_counters() {
    let unknown = [row("NOT_SPECIFIED", Some("__udp4_lib_rcv"), HERE, 20)];
    assert_eq!(verdict("UdpNoPorts", [20, 20], &unknown), Verdict::Agrees);
    assert_eq!(verdict("UdpNoPorts", [0, 0], &unknown), Verdict::Agrees);
    let mut brackets = Brackets::new(Counters::built_in().unwrap());
    add(&mut brackets, "UdpNoPorts", [0, 0], &[], SEEN);
    add(&mut brackets, "UdpNoPorts", [20, 20], &[], Unseen { packets: 20, is_partial: false });
    assert_eq!(brackets.rows()[0].verdict, Verdict::Agrees);
}

#[test]
fn other_classes_have_their_own_verdicts() {
    assert_eq!(verdict("TcpExtListenDrops", [20, 20], &[]), Verdict::Outside);
    assert_eq!(verdict("TcpExtListenOverflows", [20, 20], &[]), Verdict::NotCompared);
    assert_eq!(verdict("IpOutDiscards", [20, 20], &[]), Verdict::NotCompared);
}

#[test]
fn namespace_of_a_later_reading_starts_with_it() {
    let mut brackets = Brackets::new(Counters::built_in().unwrap());
    let empty = Arc::new(Readings::default());
    brackets.add([&empty, &readings(&[("UdpNoPorts", 0)])], &no_ports(50), &[], SEEN);
    assert_eq!(brackets.rows(), []);
    add(&mut brackets, "UdpNoPorts", [2, 2], &no_ports(52), SEEN);
    assert_eq!(brackets.rows(), [], "one reading is no rise");
    add(&mut brackets, "UdpNoPorts", [5, 5], &no_ports(55), SEEN);
    let rows = brackets.rows();
    assert_eq!((rows[0].verdict, rows[0].least, rows[0].explained), (Verdict::Agrees, 3, 3));
}

/// An inode number is used again: each of the two namespaces has a row.
#[test]
fn namespaces_with_one_inode_number_have_rows_of_their_own() {
    let of = |number: u32, rises: &[(&str, u64)]| {
        let mut readings = Arc::unwrap_or_clone(readings(rises));
        readings.read = vec![(HERE, number)];
        readings.rises.iter_mut().for_each(|rise| rise.netns_number = number);
        readings
    };
    let mut second = of(2, &[("TcpExtListenDrops", 100)]);
    second.rises.extend(of(1, &[("TcpExtListenDrops", 20)]).rises);
    let mut brackets = Brackets::new(Counters::built_in().unwrap());
    for readings in [of(1, &[]), of(1, &[("TcpExtListenDrops", 20)]), of(2, &[]), second] {
        let readings = Arc::new(readings);
        brackets.add([&readings, &readings], &[], &[], SEEN);
    }
    let rows = brackets.rows();
    let shown: Vec<_> = rows.iter().map(|row| (row.verdict, row.outside)).collect();
    assert_eq!(shown, [(Verdict::Outside, 100), (Verdict::Outside, 20)]);
}

#[test]
fn fallen_counter_has_no_verdict() {
    let mut brackets = Brackets::new(Counters::built_in().unwrap());
    add(&mut brackets, "UdpNoPorts", [0, 0], &[], SEEN);
    let fallen = Readings { fallen: vec![("UdpNoPorts".into(), (HERE, 1), 0)], ..(*readings(&[])).clone() };
    let fallen = Arc::new(fallen);
    brackets.add([&fallen, &fallen], &no_ports(20), &[], SEEN);
    let rows = brackets.rows();
    assert_eq!((rows.len(), rows[0].verdict, rows[0].most), (1, Verdict::Unknown, 0));
}

#[test]
fn drops_without_a_reason_leave_refused_connections_undecided() {
    let drops = [row("NOT_SPECIFIED", Some("tcp_v4_rcv"), HERE, 20)];
    assert_eq!(verdict("TcpExtListenDrops", [12, 12], &drops), Verdict::Undecided(12));
    assert_eq!(verdict("TcpExtListenDrops", [32, 32], &drops), Verdict::Outside);
    let explained = [row("TCP_LISTEN_OVERFLOW", Some("tcp_v4_rcv"), HERE, 12)];
    assert_eq!(verdict("TcpExtListenDrops", [12, 12], &explained), Verdict::Agrees);
}

#[test]
fn counter_without_a_rise_has_the_name_of_its_namespace() {
    let named = |counters: &[(&str, u64)]| {
        let mut readings = Arc::unwrap_or_clone(readings(counters));
        readings.names.insert((HERE, 1), "blue".into());
        Arc::new(readings)
    };
    let mut brackets = Brackets::new(Counters::built_in().unwrap());
    brackets.add([&named(&[]), &named(&[])], &[], &[], SEEN);
    brackets.add([&named(&[]), &named(&[])], &no_ports(20), &[], SEEN);
    let rows = brackets.rows();
    let row = rows.iter().find(|row| *row.name == *"UdpNoPorts").unwrap();
    assert_eq!((row.verdict, row.netns, row.netns_name.as_deref()), (Verdict::Excess(20), HERE, Some("blue")));
}
