use proptest::prelude::*;

use super::fit::{Limits, fit_into};
use super::read::read_up_to;
use super::*;

/// A document that droptrace wrote.
const DOCUMENT: &str = include_str!("fixtures/two-namespaces.json");

fn sample() -> Snapshot {
    serde_json::from_str(DOCUMENT).unwrap()
}

fn counter(name: &str) -> OutsideCounter {
    OutsideCounter {
        counter: name.into(),
        interface: None,
        class: None,
        netns_name: Some("web".into()),
        own_netns: Some(false),
        rise: 7,
        outside: None,
        at_most_outside: None,
    }
}

fn written(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, snapshot).unwrap();
    bytes
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 0).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn snapshot_is_read_as_it_was_written() {
    let bytes = written(&sample());
    assert_eq!(read(&bytes[..]).unwrap(), sample());
    assert_eq!(read(&compressed(&bytes)[..]).unwrap(), sample());
}

#[test]
fn snapshot_truncated_anywhere_is_reported_as_truncated() {
    let bytes = written(&sample());
    // The document ends before its line does.
    for length in 0..bytes.len() - 1 {
        let error = read(&bytes[..length]).unwrap_err();
        assert!(matches!(error, ReadError::Cut { .. }), "{length} bytes: {error}");
    }
    let bytes = compressed(&bytes);
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        assert!(matches!(error, ReadError::Cut { .. }), "{length} compressed bytes: {error}: {error:?}");
    }
}

#[test]
fn damaged_snapshot_is_never_read_as_another_document() {
    let bytes = compressed(&written(&sample()));
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        match read(&damaged[..]) {
            Ok(snapshot) => assert_eq!(snapshot, sample(), "byte {position}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn error_names_other_schema() {
    let error_of = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
    let newer = error_of(r#"{"schema":"droptrace.snapshot.v2","rows":[{"n":1}]}"#);
    assert_eq!(
        newer,
        "the snapshot has the schema droptrace.snapshot.v2, which is newer than droptrace.snapshot.v1: read it with a newer droptrace"
    );
    // The document is newer, and can be read nevertheless.
    let text = String::from_utf8(written(&sample())).unwrap();
    assert!(matches!(read(text.replace("snapshot.v1", "snapshot.v3").as_bytes()), Err(ReadError::Newer { .. })));
    let stat = error_of(r#"{"schema":"droptrace.stat.v1","drops":[]}"#);
    assert_eq!(stat, "the file is not a snapshot: its schema is droptrace.stat.v1, not droptrace.snapshot.v1");
    assert!(matches!(read(&b"# a text"[..]), Err(ReadError::Malformed(_))));
    assert!(matches!(read(&b"{\"schema\":\"droptrace.snapshot.v1\"}"[..]), Err(ReadError::Malformed(_))));
    assert!(matches!(read(&[&written(&sample())[..], b"more"].concat()[..]), Err(ReadError::Malformed(_))));
}

#[test]
fn unknown_fields_are_ignored() {
    let text = String::from_utf8(written(&sample())).unwrap();
    let later = text.replacen('{', "{\"weather\":\"rain\",", 1).replace("\"packets\"", "\"colour\":7,\"packets\"");
    assert_eq!(read(later.as_bytes()).unwrap(), sample());
}

#[test]
fn endless_document_is_an_error() {
    let bytes = written(&sample());
    let limit = bytes.len() as u64 - 10;
    for source in [bytes.clone(), compressed(&bytes)] {
        assert!(matches!(read_up_to(&source[..], limit), Err(ReadError::TooLarge { .. })));
        read_up_to(&source[..], bytes.len() as u64).unwrap();
    }
    let endless = io::repeat(b' ');
    assert!(matches!(read_up_to(endless, 1 << 20), Err(ReadError::TooLarge { .. })));
}

#[test]
fn rows_beyond_the_limits_are_counted_by_reason() {
    let whole = sample();
    let rows = whole.drops.len();
    let limits = Limits { rows: rows - 2, interfaces: 1, bytes: u64::MAX };
    let mut snapshot = whole.clone();
    let counters = ["a", "b", "c"].map(counter).to_vec();
    snapshot.outside = Some(Outside { namespaces: 1, gaps: 0, counters });
    let left_out = fit_into(&mut snapshot, limits).unwrap().unwrap();
    assert_eq!(snapshot.outside.as_ref().unwrap().counters, [counter("a")]);
    let packets = whole.drops[rows - 2..].iter().map(|row| row.packets).sum();
    assert_eq!(left_out, LeftOut { keys: 2, packets, interfaces: 1, counters: 2 });
    assert!(
        left_out
            .to_string()
            .contains(" of 2 keys are counted by reason or kind only, and 1 interfaces and 2 counters are left out")
    );
    assert_eq!((snapshot.drops.len(), snapshot.interfaces.len()), (rows - 2, 1));
    let (ledger, before) = (&snapshot.sources[0].ledger, &whole.sources[0].ledger);
    assert_eq!((ledger.accounted + packets, ledger.overflow), (before.accounted, before.overflow + packets));
    assert_eq!(snapshot.unaccounted(), Some(0));
    assert_eq!(fit(&mut snapshot).unwrap(), None);
}

#[test]
fn drops_that_are_not_packets_are_never_counted_as_packets() {
    let mut whole = sample();
    let rows = 6;
    whole.drops = (0..6)
        .map(|at| Row {
            kind: ["packet", "copy", "unix"][at % 3].into(),
            packets: 10 - at as u64,
            ..whole.drops[0].clone()
        })
        .collect();
    let sum = whole.drops.iter().map(|row| row.packets).sum();
    whole.overflow.clear();
    (whole.sources[0].ledger.accounted, whole.sources[0].ledger.overflow) = (sum, 0);
    let kept = |most: usize| {
        let mut snapshot = whole.clone();
        fit_into(&mut snapshot, Limits { rows: most, interfaces: SOME, bytes: u64::MAX }).unwrap();
        assert_eq!(snapshot.unaccounted(), Some(0));
        let of = |kind: &str| snapshot.drops.iter().filter(|row| row.kind == kind).map(|row| row.packets).sum::<u64>();
        let overflow = snapshot.overflow.iter().map(|row| row.packets).sum::<u64>();
        (["packet", "copy", "unix"].map(of), overflow, snapshot.drops.len())
    };
    assert_eq!(kept(rows), ([17, 15, 13], 0, 6));
    assert_eq!(kept(5), ([10, 15, 13], 7, 5));
    assert_eq!(kept(4), ([0, 15, 13], 17, 4));
    // More kinds than there is room for.
    assert_eq!(kept(1), ([0, 15, 13], 17, 3));
}

#[test]
fn written_document_is_not_longer_than_the_limit() {
    let mut snapshot = sample();
    let room = written(&snapshot).len() as u64 - 100;
    let left_out = fit_into(&mut snapshot, Limits { rows: MOST, interfaces: SOME, bytes: room }).unwrap().unwrap();
    assert!(left_out.keys > 0 && !snapshot.drops.is_empty());
    // Drops that are counted by reason have room of their own.
    read_up_to(&written(&snapshot)[..], room + 1000).unwrap();
    let mut refused = sample();
    refused.unavailable[0].cause = "é".repeat(5000);
    assert_eq!(fit(&mut refused).unwrap(), None);
    assert_eq!(read(&written(&refused)[..]).unwrap().unavailable[0].cause.len(), REASON);
}

#[test]
fn texts_have_a_bound() {
    for name in ["host", "kernel", "version", "reason", "symbol", "interface"] {
        let text = String::from_utf8(written(&sample())).unwrap();
        let (before, after) = text.split_once(&format!("\"{name}\":\"")).unwrap();
        let long = format!("{before}\"{name}\":\"{}{after}", "x".repeat(5000));
        let error = anyhow::Error::from(read(long.as_bytes()).unwrap_err());
        assert!(format!("{error:#}").contains("a text is longer than "), "{name}: {error:#}");
    }
}

#[test]
fn missing_file_is_an_error() {
    let error = anyhow::Error::from(read_file("/no/such/file".as_ref()).unwrap_err());
    assert_eq!(format!("{error:#}"), "cannot open /no/such/file: No such file or directory (os error 2)");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_an_error(mut bytes: Vec<u8>, is_compressed: bool) {
        if is_compressed {
            bytes.splice(0..0, [0x28, 0xb5, 0x2f, 0xfd]);
        }
        prop_assert!(read(&bytes[..]).is_err());
        prop_assert!(read(&compressed(&bytes)[..]).is_err());
    }
}

/// The sample with each row split between these owners, whose drops differ in number and time.
fn with_owners(names: &[&str]) -> Snapshot {
    let owned = |row: &Row, (at, name): (u64, &&str)| Row {
        owner: Some(RowOwner { attribution: "attributed".into(), pod: Some((*name).into()), ..RowOwner::default() }),
        packets: if at == 0 { row.packets - (names.len() as u64 - 1) } else { 1 },
        bytes: if at == 0 { row.bytes } else { Some(0) },
        first_seen: if at == 0 { row.last_seen } else { row.first_seen },
        ..row.clone()
    };
    let whole = sample();
    let drops = whole.drops.iter().flat_map(|row| (0..).zip(names).map(|owner| owned(row, owner)));
    Snapshot { drops: drops.collect(), ..whole }
}

#[test]
fn rows_that_differ_in_owners_alone_are_one_row_without_owners() {
    let owned = with_owners(&["shop/web", "shop/db"]);
    assert_eq!(owned.drops.len(), 2 * sample().drops.len());
    assert_eq!(*owned.rows_without_owners(), sample().drops);
    assert!(matches!(sample().rows_without_owners(), std::borrow::Cow::Borrowed(_)));
    assert_eq!((owned.unaccounted(), read(&written(&owned)[..]).unwrap()), (Some(0), owned));
}

#[test]
fn owners_stand_only_in_documents_that_have_them() {
    let text = |snapshot: &Snapshot| String::from_utf8(written(snapshot)).unwrap();
    assert!(!text(&sample()).contains("owner"));
    let owner = r#""owner":{"attribution":"attributed","pod":"shop/web","container":null,"unit":null,"cgroup":null,"socket_role":null}"#;
    assert!(text(&with_owners(&["shop/web"])).contains(owner));
}
