use proptest::prelude::*;

use super::*;

/// Operation 1 has policy 0 for single requests and policy 1 for lists.
#[rustfmt::skip]
const OPERATIONS: [u8; 32] = [
    0x06, 0x00, 0x01, 0x00, 0x15, 0x00, 0x00, 0x00, // CTRL_ATTR_FAMILY_ID: 21
    0x18, 0x00, 0x09, 0x80, // CTRL_ATTR_OP_POLICY, nested
    0x14, 0x00, 0x01, 0x80, // operation 1
    0x08, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, // CTRL_ATTR_POLICY_DO: 0
    0x08, 0x00, 0x02, 0x00, 0x01, 0x00, 0x00, 0x00, // CTRL_ATTR_POLICY_DUMP: 1
];

/// Policy 0: attribute 1 contains attributes with policy 1.
#[rustfmt::skip]
const NEST: [u8; 36] = [
    0x24, 0x00, 0x08, 0x80, // CTRL_ATTR_POLICY, nested
    0x20, 0x00, 0x00, 0x80, // policy 0
    0x1c, 0x00, 0x01, 0x80, // attribute 1
    0x08, 0x00, 0x01, 0x00, 0x0d, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_TYPE: nested
    0x08, 0x00, 0x08, 0x00, 0x01, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_POLICY_IDX: 1
    0x08, 0x00, 0x09, 0x00, 0x02, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE: 2
];

/// Policy 1: attribute 2 is a number from -1 to 7.
#[rustfmt::skip]
const NUMBER: [u8; 44] = [
    0x2c, 0x00, 0x08, 0x80, // CTRL_ATTR_POLICY, nested
    0x28, 0x00, 0x01, 0x80, // policy 1
    0x24, 0x00, 0x02, 0x80, // attribute 2
    0x08, 0x00, 0x01, 0x00, 0x08, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_TYPE: s32
    0x0c, 0x00, 0x02, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // NL_POLICY_TYPE_ATTR_MIN_VALUE_S: -1
    0x0c, 0x00, 0x03, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_MAX_VALUE_S: 7
];

fn take(messages: &[&[u8]]) -> Result<Policies, Malformed> {
    let mut policies = Policies::default();
    messages.iter().try_for_each(|attributes| policies.take(&Reply { command: 10, attributes }))?;
    Ok(policies)
}

/// Two policies, one nested in the other.
pub(crate) fn nested() -> Policies {
    take(&[&OPERATIONS, &NEST, &NUMBER]).unwrap()
}

fn steps(policies: &Policies, root: u32) -> Vec<(usize, u32)> {
    let mut steps = Vec::new();
    let shown: Result<(), ()> = policies.walk(root, |step| {
        steps.push(match step {
            Step::Attribute(depth, number, _) => (depth, number.into()),
            Step::Elsewhere(depth, index) => (depth, 1000 + index),
        });
        Ok(())
    });
    shown.unwrap();
    steps
}

#[test]
fn policies_of_operations_and_those_within() {
    let policies = nested();
    assert_eq!(policies.operations[&1], Roots { does: Some(0), dumps: Some(1) });
    assert_eq!(steps(&policies, 0), [(0, 1), (1, 2)]);
    assert_eq!(steps(&policies, 7), []);
    let number = &policies.by_index[&1][&2];
    assert_eq!((number.type_name(), number.minimum, number.maximum), (Some("s32"), Some(-1), Some(7)));
    let nest = &policies.by_index[&0][&1];
    assert_eq!((nest.type_name(), nest.nested, nest.nested_maximum), (Some("nested"), Some(1), Some(2)));
}

#[test]
fn unsigned_bounds_lengths_masks_and_types_to_come() {
    #[rustfmt::skip]
    let bytes = [
        0x4c, 0x00, 0x08, 0x80, 0x48, 0x00, 0x00, 0x80, 0x44, 0x00, 0x05, 0x80,
        0x08, 0x00, 0x01, 0x00, 0x63, 0x00, 0x00, 0x00, // type 99
        0x0c, 0x00, 0x05, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // NL_POLICY_TYPE_ATTR_MAX_VALUE_U
        0x08, 0x00, 0x06, 0x00, 0x02, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_MIN_LENGTH
        0x08, 0x00, 0x07, 0x00, 0x0f, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_MAX_LENGTH
        0x0c, 0x00, 0x0c, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, // NL_POLICY_TYPE_ATTR_MASK
        0x08, 0x00, 0x0a, 0x00, 0x03, 0x00, 0x00, 0x00, // NL_POLICY_TYPE_ATTR_BITFIELD32_MASK
        0x08, 0x00, 0x63, 0x00, 0x00, 0x00, 0x00, 0x00, // of a kernel to come
    ];
    let parsed = take(&[&bytes]).unwrap().by_index[&0][&5].clone();
    assert_eq!((parsed.type_name(), parsed.minimum, parsed.maximum), (None, None, Some(u64::MAX.into())));
    assert_eq!((parsed.minimum_length, parsed.maximum_length, parsed.mask), (Some(2), Some(15), Some(3)));
}

/// A kernel before 5.10 has one policy for the family, and reports no operations.
#[test]
fn without_operations_the_first_policy_is_for_all() {
    let policies = take(&[&NUMBER, &NEST]).unwrap();
    assert!(policies.operations.is_empty());
    assert_eq!(policies.roots(Operation::of(1, 8 | 4 | 2)), Roots { does: Some(0), dumps: Some(0) });
    assert_eq!(policies.roots(Operation::of(1, 8 | 2)), Roots { does: Some(0), dumps: None });
    assert_eq!(policies.roots(Operation::of(1, 4 | 2)), Roots::default());
    assert_eq!(nested().roots(Operation::of(2, 8 | 2)), Roots::default());
}

#[test]
fn operations_agree_on_an_attribute_or_not() {
    let policies = nested();
    let kind = |policies: &Policies, number| policies.agreed(number).map(|policy| policy.kind);
    assert_eq!((kind(&policies, 1), kind(&policies, 2), kind(&policies, 3)), (Some(13), Some(8), None));
    let mut disputed = nested();
    let other = AttributePolicy { kind: 4, ..AttributePolicy::default() };
    disputed.by_index.entry(1).or_default().insert(1, other);
    assert_eq!((kind(&disputed, 1), kind(&disputed, 2)), (None, Some(8)));
    assert_eq!(kind(&take(&[&NEST]).unwrap(), 1), Some(13), "without operations");
}

fn nest(index: u32) -> Policy {
    Policy::from([(1, AttributePolicy { kind: 13, nested: Some(index), ..AttributePolicy::default() })])
}

#[test]
fn a_policy_within_itself_is_shown_once() {
    let policies = Policies { by_index: BTreeMap::from([(0, nest(1)), (1, nest(0))]), ..Policies::default() };
    assert_eq!(steps(&policies, 0), [(0, 1), (1, 1), (2, 1000)]);
}

#[test]
fn the_depth_is_bounded() {
    let chain = (0..100_000).map(|index| (index, nest(index + 1))).collect();
    let steps = steps(&Policies { by_index: chain, ..Policies::default() }, 0);
    assert_eq!((steps.len(), steps.last()), (DEPTH + 1, Some(&(DEPTH, 1016))));
}

#[test]
fn truncated_messages_are_refused_or_lack_a_part() {
    let whole = [&OPERATIONS[..], &NEST, &NUMBER];
    for (cut, message) in whole.iter().enumerate() {
        for length in 0..message.len() {
            let mut messages = whole;
            messages[cut] = &message[..length];
            assert_ne!(take(&messages), Ok(nested()), "{cut} at {length}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..=44) {
        for start in [&OPERATIONS[..], &NEST, &NUMBER] {
            let message = [&start[..cut.min(start.len())], &bytes].concat();
            let mut policies = nested();
            _ = policies.take(&Reply { command: 10, attributes: &message });
            for root in 0..4 {
                prop_assert!(steps(&policies, root).len() < 200);
            }
        }
    }
}

/// Operation 0 in place of one that can only list, as kernels since 6.2 report it.
#[rustfmt::skip]
const UNNUMBERED: [u8; 16] = [
    0x10, 0x00, 0x09, 0x80, // CTRL_ATTR_OP_POLICY, nested
    0x0c, 0x00, 0x00, 0x80, // operation 0
    0x08, 0x00, 0x02, 0x00, 0x01, 0x00, 0x00, 0x00, // CTRL_ATTR_POLICY_DUMP: 1
];

#[test]
fn list_operation_gets_its_number_back() {
    let (both, lists, other) = (Operation::of(1, 0xe), Operation::of(10, 0xc), Operation::of(11, 0xc));
    let reported = take(&[&OPERATIONS, &UNNUMBERED, &NUMBER]).unwrap();
    let mut policies = reported.clone();
    policies.number(&[both, lists]);
    assert_eq!(policies.roots(lists), Roots { does: None, dumps: Some(1) });
    assert_eq!(policies.roots(both), Roots { does: Some(0), dumps: Some(1) });
    // With two candidates, the number is ambiguous.
    let mut policies = reported.clone();
    policies.number(&[both, lists, other]);
    assert_eq!(policies, reported);
}

#[test]
fn operation_with_number_0_keeps_its_number() {
    let (zero, both, lists) = (Operation::of(0, 0xc), Operation::of(1, 0xe), Operation::of(2, 0xc));
    let reported = take(&[&OPERATIONS, &UNNUMBERED, &NUMBER]).unwrap();
    // Operation 0 is the only candidate, or another candidate is not reported, as before 6.2.
    for operations in [&[zero, both][..], &[zero, both, lists]] {
        let mut policies = reported.clone();
        policies.number(operations);
        assert_eq!(policies.roots(zero), Roots { does: None, dumps: Some(1) });
        assert_eq!(policies.roots(both), Roots { does: Some(0), dumps: Some(1) });
        assert_eq!(policies.roots(lists), Roots::default());
    }
    // Since 6.2, another operation is reported as 0 too.
    let mut policies = take(&[&OPERATIONS, &UNNUMBERED, &UNNUMBERED, &NUMBER]).unwrap();
    policies.number(&[zero, both, lists]);
    assert_eq!((policies.roots(zero).dumps, policies.roots(lists).dumps), (Some(1), Some(1)));
    assert!(policies.unnumbered.is_empty());
}

#[test]
fn policies_of_the_running_controller_are_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = Connection::open().unwrap();
        let controller = Details::resolve(&mut connection, "nlctrl").await.unwrap();
        let policies = Policies::of(&mut connection, &controller).await.unwrap().expect("a kernel since 5.7");
        let root = policies.roots(Operation::of(3, 0xe)).does.unwrap();
        let name = &policies.by_index[&root][&2];
        assert_eq!((name.type_name(), name.maximum_length), (Some("nul-string"), Some(15)));
        let root = policies.roots(Operation::of(10, 0xc)).dumps.expect("a kernel since 5.10");
        assert_eq!(policies.by_index[&root][&10].type_name(), Some("u32"), "CTRL_ATTR_OP");
    });
}
