use super::*;
use crate::netlink::{Family, Group, nested_policies};

/// The family that `drop_monitor` registers, in part.
pub(in crate::cli::netlink) fn net_dm() -> Details {
    let group = Group { name: "events".into(), id: 10 };
    Details {
        family: Family { name: "NET_DM".into(), id: 27, version: 2, groups: vec![group] },
        header_size: 0,
        max_attribute: 23,
        operations: vec![Operation::of(1, 0xe), Operation::of(2, 0xb), Operation::of(6, 0x12)],
    }
}

fn text(details: &Details, policies: Option<&Policies>) -> String {
    let mut out = Vec::new();
    write_text(&mut out, details, policies).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_family_in_full() {
    insta::assert_snapshot!(text(&net_dm(), Some(&nested_policies())));
}

#[test]
fn a_family_without_anything() {
    insta::assert_snapshot!(text(&Details::default(), Some(&Policies::default())));
    assert!(text(&Details::default(), None).ends_with("does not report them (5.7 and later do)\n"));
}

#[test]
fn a_tree_of_many_depths() {
    let lines = [0, 1, 2, 2, 1, 0, 1, 2].map(|depth| (depth, "x".to_owned()));
    insta::assert_snapshot!(draw(&lines).join("\n"));
}

#[test]
fn bounds_are_shown_unless_the_type_implies_them() {
    let number = |kind, minimum, maximum| {
        describe(&AttributePolicy {
            kind,
            minimum: Some(minimum),
            maximum: Some(maximum),
            ..AttributePolicy::default()
        })
    };
    assert_eq!(number(2, 0, 255), "u8");
    assert_eq!(number(2, 0, 256), "u8, 0 to 256");
    assert_eq!(number(5, 0, u64::MAX.into()), "u64");
    assert_eq!(number(17, 0, u64::MAX.into()), "uint");
    assert_eq!(number(8, i32::MIN.into(), i32::MAX.into()), "s32");
    assert_eq!(number(16, -3, 4), "sint, -3 to 4");
    let text = AttributePolicy { kind: 12, maximum_length: Some(15), ..AttributePolicy::default() };
    assert_eq!(describe(&text), "nul-string, at most 15 bytes");
    let address = AttributePolicy { kind: 10, minimum_length: Some(16), maximum_length: Some(16), ..text.clone() };
    assert_eq!(describe(&address), "binary, 16 bytes");
    let bits = AttributePolicy { kind: 15, mask: Some(3), ..AttributePolicy::default() };
    assert_eq!(describe(&bits), "bitfield32, bits 0x3");
    assert_eq!(describe(&AttributePolicy { kind: 99, ..AttributePolicy::default() }), "type 99");
}
