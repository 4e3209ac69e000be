//! Tables with more or less room than their rows need.

use super::*;

/// Names of owners are long: they give way to the reason and the drop site.
#[test]
fn owners_leave_room_for_the_other_columns() {
    let owner = Owner {
        cgroup: Some(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5d0e3c1a.slice/cri-containerd-3f.scope"
                .into(),
        ),
        container: Some("a-container-with-a-name-that-is-longer-than-usual".into()),
        pod: Some("shop/web-5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a".into()),
        unit: Some("kubelet-with-a-long-name.service".into()),
    };
    let key = NamedKey { owner: owner.into(), cgroup_id: 7, socket: Some(Role::Receiver), ..key() };
    let mut totals = totals();
    totals[0].key = Arc::new(key);
    for by in ["reason,site,pod,cgroup", "pod,container,unit,cgroup,socket", "reason,pod,container,cgroup"] {
        let dimensions: Dimensions = by.parse().unwrap();
        let grouped = report(group_by(&totals, &dimensions), vec![]);
        let text = shown(StatOptions { by: Some(dimensions.clone()), ..PLAIN(80) }, &[grouped]);
        assert!(widest(&without_ledger(&text)) <= 80, "{by}: {text}");
        assert!(dimensions.iter().all(|dimension| text.contains(dimension.column().heading)), "{by}: {text}");
    }
}

/// The namespace with a name of [`totals_of_two_namespaces`] has this resident.
fn totals_with_resident(pod: &str) -> Vec<DropTotal> {
    let mut totals = totals_of_two_namespaces();
    let last = totals.last_mut().unwrap();
    let owner = Arc::new(Owner { pod: Some(pod.into()), ..Owner::default() });
    last.key = Arc::new(NamedKey { owner, residence: Some(Residence::Here), ..(*last.key).clone() });
    totals
}

#[test]
fn residents_have_a_column_where_there_is_room() {
    let pod = "shop/web-5d0e3c1a-0f7e-4b7c";
    let shown = |width| shown(PLAIN(width), &[report(totals_with_resident(pod), overflow())]);
    insta::assert_snapshot!("table_with_resident", shown(150));
    for width in 60..160 {
        let text = shown(width);
        let unknown = report(totals_of_two_namespaces(), overflow());
        let rows = |text: &str| text.lines().filter(|line| line.contains("NO_SOCKET")).count();
        assert!(widest(&without_ledger(&text)) <= width.max(80), "{width}: {text}");
        assert_eq!(rows(&text), rows(&super::tests::shown(PLAIN(width), &[unknown])), "{width}");
    }
    assert!(shown(90).contains("WHO") && shown(150).contains(pod));
    assert!(shown(50).contains(", WHO: widen"), "{}", shown(50));
}

#[test]
fn nothing_is_cut_without_a_width() {
    let text = shown(PLAIN(usize::MAX), &[report(totals_of_two_namespaces(), overflow())]);
    assert!(!text.contains('…') && !text.contains("no room"), "{text}");
    for name in ["openvswitch:OVS_DROP_EXPLICIT_WITH_ERROR", "udp_queue_rcv_one_skb+0x1a7", "4026531833", "0x88cc"] {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[test]
fn rows_that_stand_still_are_dim_and_last_in_live_tables() {
    let size = || Size { width: 200, height: Some(40) };
    let options = StatOptions { live: true, color: true, size: Box::new(size), ..PLAIN(200) };
    let running = StatReport { is_final: false, ..report(totals(), vec![]) };
    let frames = shown(options, &[running.clone(), grown(running, 1)]);
    let last: Vec<_> = frames.rsplit("\x1b[H").next().unwrap().lines().collect();
    assert!(last[2].contains("NO_SOCKET") && !last[2].contains("SOCKET_RCVBUFF"), "{last:?}");
    assert!(last[3..8].iter().all(|row| row.starts_with("\x1b[2m")), "{last:?}");
}
