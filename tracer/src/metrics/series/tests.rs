use proptest::prelude::*;

use super::*;
use crate::dimension::Dimensions;
use crate::metrics::label_set::LabelSet;

fn label_set() -> LabelSet {
    LabelSet::new(true, Some(&Dimensions::owners("container").unwrap()))
}

fn labels(name: &str) -> Labels {
    labelled("reason", name)
}

/// Labels of which one has a value.
fn labelled(label: &str, value: &str) -> Labels {
    label_set().names().map(|name| Arc::from(if name == label { value } else { "" })).collect()
}

fn packets(packets: u64) -> Sum {
    Sum { packets, bytes: Some(packets * 10) }
}

const HOUR: Duration = Duration::from_hours(1);

fn bounded<K: Eq + Hash>(limit: usize) -> Series<K> {
    Series::new(Bounds { limit, expire_after: HOUR }, label_set().names())
}

fn series(limit: usize) -> Series<u8> {
    bounded(limit)
}

fn read(series: &mut Series<u8>, reported: &[(u8, &str, u64)]) {
    let mut reading = series.reading(Instant::now());
    for (key, name, count) in reported {
        reading.add(*key, packets(*count), true, || labels(name));
    }
    reading.finish();
}

fn shown(series: &Series<u8>) -> Vec<(&str, u64)> {
    series.iter().map(|(labels, sum)| (&*labels[0], sum.packets)).collect()
}

#[test]
fn keys_of_the_same_labels_share_a_series() {
    let mut series = series(9);
    read(&mut series, &[(1, "a", 5), (2, "b", 7), (3, "a", 1)]);
    assert_eq!(shown(&series), [("other", 0), ("a", 6), ("b", 7)]);
    read(&mut series, &[(1, "a", 6), (2, "b", 7), (3, "a", 3)]);
    assert_eq!(shown(&series), [("other", 0), ("a", 9), ("b", 7)]);
}

#[test]
fn overflow_series_keeps_sum_exact() {
    let mut series = series(2);
    read(&mut series, &[(1, "a", 5), (2, "b", 7), (3, "c", 1)]);
    assert_eq!(shown(&series), [("other", 8), ("a", 5)]);
    read(&mut series, &[(2, "b", 8), (3, "c", 1), (1, "a", 6)]);
    assert_eq!(shown(&series), [("other", 9), ("a", 6)]);
    assert!(series.iter().next().unwrap().0.iter().all(|label| &**label == OTHER));
}

#[test]
fn disappearing_and_restarted_keys_never_fall() {
    let mut series = series(9);
    read(&mut series, &[(1, "a", 5)]);
    read(&mut series, &[]);
    assert_eq!(shown(&series), [("other", 0), ("a", 5)]);
    read(&mut series, &[(1, "a", 2)]);
    read(&mut series, &[(1, "a", 1)]);
    assert_eq!(shown(&series), [("other", 0), ("a", 8)]);
}

#[test]
fn a_key_that_is_renamed_does_not_count_twice() {
    let mut series = series(9);
    read(&mut series, &[(1, "eth0", 5)]);
    read(&mut series, &[(1, "wan", 7)]);
    assert_eq!(shown(&series), [("other", 0), ("eth0", 7)]);
}

#[test]
fn unknown_bytes_make_the_sum_unknown() {
    let mut series = series(9);
    for reported in [Some(40), None, Some(90)] {
        let mut reading = series.reading(Instant::now());
        reading.add(1, Sum { packets: 1, bytes: reported }, true, || labels("a"));
        reading.finish();
    }
    let sums: Vec<_> = series.iter().map(|(_, sum)| sum.bytes).collect();
    assert_eq!(sums, [Some(0), None]);
}

/// A drop in a namespace of this name.
fn labels_in(netns: &str) -> Labels {
    labelled("netns", netns)
}

/// Reads counts by namespace after this time.
fn read_in(series: &mut Series<usize>, now: Instant, reported: &[(usize, &str, u64)]) {
    let mut reading = series.reading(now);
    for (key, netns, count) in reported {
        reading.add(*key, packets(*count), true, || labels_in(netns));
    }
    reading.finish();
}

fn shown_in(series: &Series<usize>) -> Vec<(&str, u64)> {
    series.iter().map(|(labels, sum)| (value(&series.names, labels, "netns"), sum.packets)).collect()
}

#[test]
fn idle_series_expires_and_starts_again() {
    let start = Instant::now();
    let at = |minutes| start + Duration::from_mins(minutes);
    let mut series = bounded(9);
    read_in(&mut series, at(0), &[(1, "blue", 5), (2, "red", 7), (3, OWN, 1), (4, "", 2)]);
    read_in(&mut series, at(59), &[(1, "blue", 5), (2, "red", 8), (3, OWN, 1), (4, "", 2)]);
    assert_eq!(shown_in(&series), [("other", 0), ("", 2), ("blue", 5), (OWN, 1), ("red", 8)]);
    // The backend still reports the old count, or no longer.
    for reported in [&[(1, "blue", 5), (2, "red", 9)][..], &[(2, "red", 9)], &[(1, "blue", 5), (2, "red", 9)]] {
        read_in(&mut series, at(60), reported);
        assert_eq!(shown_in(&series)[..3], [("other", 0), ("expired", 5), ("", 2)]);
    }
}

#[test]
fn expired_series_that_rises_again_is_not_counted_twice() {
    let start = Instant::now();
    let mut series = bounded(9);
    read_in(&mut series, start, &[(1, "blue", 5)]);
    read_in(&mut series, start + HOUR, &[(1, "blue", 5)]);
    assert_eq!(shown_in(&series), [("other", 0), ("expired", 5)]);
    read_in(&mut series, start + HOUR, &[(1, "blue", 7)]);
    assert_eq!(shown_in(&series), [("other", 0), ("expired", 5), ("blue", 2)]);
    read_in(&mut series, start + 2 * HOUR, &[(1, "blue", 7)]);
    assert_eq!(shown_in(&series), [("other", 0), ("expired", 7)]);
}

#[test]
fn key_without_series_gets_one_when_there_is_room() {
    let start = Instant::now();
    let mut series = bounded(3);
    read_in(&mut series, start, &[(1, "blue", 5), (2, OWN, 1), (3, "red", 7)]);
    assert_eq!(shown_in(&series), [("other", 7), ("blue", 5), (OWN, 1)]);
    // The series for expired ones takes the room of the first series.
    read_in(&mut series, start + HOUR, &[(1, "blue", 5), (2, OWN, 1), (3, "red", 8)]);
    assert_eq!(shown_in(&series), [("other", 8), ("expired", 5), (OWN, 1)]);
    let mut series = bounded(4);
    read_in(&mut series, start, &[(1, "blue", 5), (2, "green", 1), (4, OWN, 1), (3, "red", 7)]);
    read_in(&mut series, start + HOUR, &[(1, "blue", 5), (2, "green", 1), (4, OWN, 1), (3, "red", 7)]);
    read_in(&mut series, start + HOUR, &[(1, "blue", 5), (2, "green", 1), (4, OWN, 1), (3, "red", 9)]);
    assert_eq!(shown_in(&series), [("other", 7), ("expired", 6), (OWN, 1), ("red", 2)]);
}

/// The labels of a container in the agent's own namespace; without a name, its owner is unknown.
fn labels_of(container: &str) -> Labels {
    let owner = if container.is_empty() { Attribution::Unknown } else { Attribution::Attributed };
    let value = |name| match name {
        "netns" => OWN,
        "container" => container,
        OWNER => owner.name(),
        _ => "",
    };
    label_set().names().map(|name| Arc::from(value(name))).collect()
}

/// Reads counts by container.
fn read_of(series: &mut Series<u8>, now: Instant, reported: &[(u8, &str, u64)]) {
    let mut reading = series.reading(now);
    for (key, container, count) in reported {
        reading.add(*key, packets(*count), !container.is_empty(), || labels_of(container));
    }
    reading.finish();
}

fn shown_of(series: &Series<u8>) -> Vec<(&str, u64)> {
    series.iter().map(|(labels, sum)| (value(&series.names, labels, "container"), sum.packets)).collect()
}

#[test]
fn owner_that_becomes_known_counts_from_then_on() {
    let (now, mut series) = (Instant::now(), series(9));
    read_of(&mut series, now, &[(1, "", 5), (2, "", 1)]);
    read_of(&mut series, now, &[(1, "web", 5), (2, "", 2)]);
    assert_eq!(shown_of(&series), [("other", 0), ("", 7)]);
    read_of(&mut series, now, &[(1, "web", 8), (2, "", 3)]);
    assert_eq!(shown_of(&series), [("other", 0), ("", 8), ("web", 3)]);
    // A name that is forgotten stays the series' name.
    read_of(&mut series, now, &[(1, "", 9), (2, "", 3)]);
    assert_eq!(shown_of(&series), [("other", 0), ("", 8), ("web", 4)]);
}

#[test]
fn owner_without_room_is_counted_with_the_others() {
    let (now, mut series) = (Instant::now(), series(2));
    read_of(&mut series, now, &[(1, "", 5)]);
    read_of(&mut series, now, &[(1, "web", 8)]);
    assert_eq!(shown_of(&series), [("other", 3), ("", 5)]);
}

#[test]
fn series_of_owners_expire_in_the_own_namespace_too() {
    let (start, mut series) = (Instant::now(), series(9));
    read_of(&mut series, start, &[(1, "web", 5), (2, "", 7), (3, "db", 1)]);
    read_of(&mut series, start + HOUR, &[(1, "web", 5), (2, "", 7), (3, "db", 2)]);
    assert_eq!(shown_of(&series), [("other", 0), ("expired", 5), ("", 7), ("db", 2)]);
    read_of(&mut series, start + HOUR, &[(1, "web", 6), (2, "", 7), (3, "db", 2)]);
    assert_eq!(shown_of(&series), [("other", 0), ("expired", 5), ("", 7), ("db", 2), ("web", 1)]);
}

/// Simulates a container host: each minute a namespace appears, counts for a while, and disappears; the backend still
/// reports its count.
#[test]
fn namespaces_that_come_and_go_need_bounded_room() {
    const LIFE: usize = 10;
    let start = Instant::now();
    let mut series = bounded(500);
    let names: Vec<_> = (0..3000).map(|number| format!("pod-{number}")).collect();
    let (mut counts, mut expired) = (vec![0_u64; names.len()], 0);
    for minute in 0..names.len() {
        let began = minute.saturating_sub(LIFE);
        counts[began..=minute].iter_mut().for_each(|count| *count += 3);
        let reported: Vec<_> = (0..=minute).map(|key| (key, &*names[key], counts[key])).collect();
        read_in(&mut series, start + Duration::from_mins(minute as u64), &reported);
        let shown = shown_in(&series);
        assert_eq!(shown.iter().map(|(_, count)| count).sum::<u64>(), counts.iter().sum::<u64>(), "{minute}");
        let is_of = |name: &str| shown.iter().find(|(netns, _)| *netns == name).map_or(0, |(_, count)| *count);
        assert!(is_of(EXPIRED) >= expired && is_of(OTHER) == 0, "{minute}");
        expired = is_of(EXPIRED);
        // The series of an hour, those in use, and the two special ones.
        assert!(series.count() <= 60 + LIFE + 2 + 1, "{} series", series.count());
    }
    assert!(expired > 0);
}

/// Counts of up to six keys; `None` for absent keys.
fn readings() -> impl Strategy<Value = Vec<[Option<u64>; 6]>> {
    prop::collection::vec(prop::array::uniform6(prop::option::of(0..1000_u64)), 0..12)
}

proptest! {
    #[test]
    fn the_sum_is_exact_and_each_series_only_rises(limit in 1..6_usize, readings in readings()) {
        const NAMES: [&str; 6] = ["a", "b", "c", "a", "b", "d"];
        let mut series = series(limit);
        let (mut expected, mut last) = (0, [None; 6]);
        let mut before: BTreeMap<Labels, Sum> = BTreeMap::new();
        for reported in readings {
            for (now, last) in reported.iter().zip(&last) {
                let now = now.unwrap_or(0);
                expected += now.checked_sub(last.unwrap_or(0)).unwrap_or(now);
            }
            last = reported;
            let row = reported.iter().enumerate().filter_map(|(key, count)| {
                Some((u8::try_from(key).unwrap(), NAMES[key], (*count)?))
            });
            read(&mut series, &row.collect::<Vec<_>>());
            let now: BTreeMap<_, _> = series.iter().map(|(labels, sum)| (labels.clone(), sum)).collect();
            prop_assert!(now.len() <= limit && now.len() == series.count());
            prop_assert_eq!(now.values().map(|sum| sum.packets).sum::<u64>(), expected);
            prop_assert_eq!(now.values().map(|sum| sum.bytes.unwrap()).sum::<u64>(), expected * 10);
            for (labels, old) in &before {
                prop_assert!(now.get(labels).is_some_and(|new| new.packets >= old.packets), "{labels:?}");
            }
            before = now;
        }
    }

    #[test]
    fn counts_that_only_rise_are_unchanged(limit in 1..6_usize, rises in readings()) {
        let mut series = series(limit);
        let mut counts = [0; 6];
        for rise in rises {
            for (count, rise) in counts.iter_mut().zip(rise) {
                *count += rise.unwrap_or(0);
            }
            let row: Vec<_> = (0..6).zip(["a", "b", "c", "d", "e", "f"]).zip(counts).collect();
            read(&mut series, &row.iter().map(|((key, name), count)| (*key, *name, *count)).collect::<Vec<_>>());
            prop_assert_eq!(series.iter().map(|(_, sum)| sum.packets).sum::<u64>(), counts.iter().sum::<u64>());
        }
    }

    /// Rising counts of six namespaces, and the minutes that pass.
    #[test]
    fn sum_is_exact_whichever_series_expire(
        limit in 1..6_usize,
        rises in prop::collection::vec((prop::array::uniform6(0..3_u64), 0..90_u64), 0..40),
    ) {
        const NAMES: [&str; 6] = ["a", "b", "c", "a", OWN, ""];
        let mut series = bounded(limit);
        let (mut counts, mut now, mut least) = ([0; 6], Instant::now(), [0, 0]);
        for (rise, minutes) in rises {
            now += Duration::from_mins(minutes);
            for (count, rise) in counts.iter_mut().zip(rise) {
                *count += rise;
            }
            let reported: Vec<_> = (0..6).map(|key| (key, NAMES[key], counts[key])).collect();
            read_in(&mut series, now, &reported);
            let shown = shown_in(&series);
            prop_assert_eq!(shown.iter().map(|(_, count)| count).sum::<u64>(), counts.iter().sum::<u64>());
            prop_assert!(series.count() <= limit && series.count() == shown.len());
            for (name, least) in [OTHER, EXPIRED].into_iter().zip(&mut least) {
                let count = shown.iter().find(|(netns, _)| *netns == name).map_or(0, |(_, count)| *count);
                prop_assert!(count >= *least, "{name} fell");
                *least = count;
            }
        }
    }
}
