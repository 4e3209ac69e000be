use super::*;

#[test]
fn equal_keys_have_one_id() {
    let mut fleet = Fleet::default();
    let key = Key { reason: Some("a"), symbol: Some("b"), class: Some("a"), netlink: true, ..Key::default() };
    let id = fleet.key(key);
    assert_eq!(fleet.resolve(id), key);
    // The same names in other fields are another key.
    let others = [
        Key { reason: Some("b"), symbol: Some("a"), ..key },
        Key { netlink: false, ..key },
        Key { other: true, ..key },
        Key { class: None, ..key },
    ];
    for other in others {
        assert_ne!(fleet.key(other), id, "{other:?}");
    }
    assert_eq!((fleet.key(key), fleet.keys().count()), (id, 5));
}

#[test]
fn hosts_are_known_by_name() {
    let mut fleet = Fleet::default();
    let (one, other) = (fleet.host("a"), fleet.host("b"));
    assert_eq!((fleet.host("a"), fleet.host("b")), (one, other));
    fleet.host_mut(other).seconds = 3.0;
    assert_eq!(fleet.find("b"), Some(&Host { seconds: 3.0, ..Host::named("b") }));
    assert_eq!((fleet.find("c"), fleet.ids().collect::<Vec<_>>()), (None, vec![one, other]));
}

#[test]
fn a_fleet_is_full_at_each_of_its_bounds() {
    let mut fleet = Fleet::default();
    let (host, key) = (fleet.host("abc"), fleet.key(Key { reason: Some("de"), ..Key::default() }));
    fleet.add(host, key, 1_u64);
    fleet.change(host, |host| host.kernel = Some("longer".into()));
    fleet.change(host, |host| host.kernel = Some("fg".into()));
    let room = Bounds { hosts: 2, keys: 2, counts: 2, text: 8 };
    assert_eq!(fleet.check(room), Ok(()));
    let full = |bounds, bound, what| assert_eq!(fleet.check(bounds), Err(Full { what, bound }));
    full(Bounds { hosts: 1, ..room }, 1, "hosts");
    full(Bounds { keys: 1, ..room }, 1, "aggregation keys");
    full(Bounds { counts: 1, ..room }, 1, "counts");
    full(Bounds { text: 7, ..room }, 7, "bytes of names");
}

#[test]
fn memory_grows_with_hosts_and_keys_only() {
    // A thousand times this number is beyond the exact integers of floats.
    const LARGE: u64 = (1 << 53) / 1000 + 7;
    let mut fleet = Fleet::default();
    let (host, key) = (fleet.host("a"), fleet.key(Key::default()));
    (0..1000).for_each(|_| assert!(fleet.add(host, key, LARGE)));
    assert_eq!(fleet.counts(), [Count { host, key, packets: Amount::Whole(1000 * LARGE) }]);
}

#[test]
fn value_that_is_not_a_count_is_ignored() {
    let mut fleet = Fleet::default();
    let (host, key) = (fleet.host("a"), fleet.key(Key::default()));
    for packets in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(!fleet.add(host, key, packets));
    }
    assert!(fleet.add(host, key, 0.0) && fleet.add(host, key, 2.0));
    assert_eq!(fleet.counts(), [Count { host, key, packets: 2.0.into() }]);
}

#[test]
fn owned_drops_add_up_by_owner() {
    let mut fleet = Fleet::default();
    let (host, key) = (fleet.host("a"), fleet.key(Key::default()));
    for (owner, packets) in [("shop/web", 3_u64), ("shop/db", 5), ("shop/web", 4)] {
        fleet.add_owned(host, key, owner, packets);
    }
    let mut owned: Vec<_> = fleet.owned().map(|owned| (owned.owner, owned.host, owned.packets)).collect();
    owned.sort_by_key(|owned| owned.0);
    assert_eq!(owned, [("shop/db", host, 5_u64.into()), ("shop/web", host, 7_u64.into())]);
    assert_eq!(fleet.counts(), [], "the same drops are counted by another call");
}
