//! Decodes the attributes of any family's messages, as far as policies describe them.

use super::names;
use super::policy::{AttributePolicy, Policies};
use super::wire::{self, Attribute};

/// The greatest depth of nested attributes, which is enough for all families.
const DEPTH: usize = 8;

/// The greatest number of bytes of a value that are shown in hexadecimal.
const HEX: usize = 64;

/// The known facts about a family's attributes.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'f> {
    /// The name of the family.
    pub family: &'f str,
    /// The policies of the family; absent if the kernel does not report them.
    pub policies: Option<&'f Policies>,
    /// The length in bytes of the family's own header, which precedes the attributes.
    pub header_size: u32,
}

/// A decoded attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'b> {
    /// The number of the attribute.
    pub number: u16,
    /// The name of the attribute; absent unless its family is well known.
    pub name: Option<&'static str>,
    /// The value of the attribute.
    pub value: Value<'b>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'b> {
    /// A flag, which has no value.
    Set,
    /// A number and its width in bits.
    Unsigned(u64, u32),
    /// A signed number and its width in bits.
    Signed(i64, u32),
    /// Text.
    Text(&'b str),
    /// Nested attributes.
    Nested(Vec<Decoded<'b>>),
    /// A value without a policy, or one that does not fit its policy.
    Bytes(&'b [u8]),
}

impl Decoder<'_> {
    /// The attributes after the generic header, and whether all of them were well-formed. A malformed attribute ends
    /// the list.
    pub fn attributes<'b>(&self, message: &'b [u8]) -> (Vec<Decoded<'b>>, bool) {
        let header = usize::try_from(self.header_size).map_or(usize::MAX, wire::align);
        let mut decoded = Vec::new();
        for attribute in wire::attributes(message.get(header..).unwrap_or_default()) {
            let Ok(attribute) = attribute else { return (decoded, false) };
            let policy = self.policies.and_then(|policies| policies.agreed(attribute.kind));
            let name = names::attribute(self.family, attribute.kind);
            decoded.push(Decoded { number: attribute.kind, name, value: self.value(&attribute, policy, 0) });
        }
        (decoded, true)
    }

    /// One line for each attribute after the generic header: its depth and its value.
    ///
    /// A value that has no policy, or that does not fit its policy, is shown in hexadecimal.
    pub fn lines(&self, message: &[u8]) -> Vec<(usize, String)> {
        let (attributes, is_whole) = self.attributes(message);
        let mut lines = Vec::new();
        for attribute in &attributes {
            show(attribute, 0, &mut lines);
        }
        if !is_whole {
            lines.push((0, CUT.to_owned()));
        }
        lines
    }

    fn value<'b>(&self, attribute: &Attribute<'b>, policy: Option<&AttributePolicy>, depth: usize) -> Value<'b> {
        let kind = policy.and_then(AttributePolicy::type_name).unwrap_or_default();
        if (attribute.is_nested || kind == "nested")
            && depth + 1 < DEPTH
            && let Ok(within) = attribute.nested().collect::<Result<Vec<_>, _>>()
        {
            let within = within.iter().map(|inner| {
                let nested = policy.and_then(|policy| policy.nested);
                let policy = nested.and_then(|index| self.policies?.within(index, inner.kind));
                Decoded { number: inner.kind, name: None, value: self.value(inner, policy, depth + 1) }
            });
            return Value::Nested(within.collect());
        }
        typed_value(attribute, kind).unwrap_or(Value::Bytes(attribute.value))
    }
}

const CUT: &str = "the remaining bytes are malformed";

fn show(attribute: &Decoded<'_>, depth: usize, lines: &mut Vec<(usize, String)>) {
    let name = attribute.name.map(|name| format!(" {name}")).unwrap_or_default();
    let head = format!("{}{name}", attribute.number);
    let value = match &attribute.value {
        Value::Set => "set".to_owned(),
        Value::Unsigned(value, _) => value.to_string(),
        Value::Signed(value, _) => value.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => hex(bytes),
        Value::Nested(within) => {
            lines.push((depth, format!("{head}:")));
            for inner in within {
                show(inner, depth + 1, lines);
            }
            return;
        }
    };
    lines.push((depth, format!("{head}: {value}")));
}

/// The value of an attribute with this type name; `None` if the bytes do not fit the type.
fn typed_value<'b>(attribute: &Attribute<'b>, kind: &str) -> Option<Value<'b>> {
    match (kind, attribute.value.len()) {
        ("flag", 0) => Some(Value::Set),
        ("u8", 1) => attribute.u8().ok().map(|value| Value::Unsigned(value.into(), 8)),
        ("u16", 2) => attribute.u16().ok().map(|value| Value::Unsigned(value.into(), 16)),
        ("u32" | "uint", 4) => attribute.u32().ok().map(|value| Value::Unsigned(value.into(), 32)),
        ("u64" | "uint", 8) => attribute.u64().ok().map(|value| Value::Unsigned(value, 64)),
        ("s8", 1) => attribute.u8().ok().map(|value| Value::Signed(value.cast_signed().into(), 8)),
        ("s16", 2) => attribute.u16().ok().map(|value| Value::Signed(value.cast_signed().into(), 16)),
        ("s32" | "sint", 4) => attribute.u32().ok().map(|value| Value::Signed(value.cast_signed().into(), 32)),
        ("s64" | "sint", 8) => attribute.u64().ok().map(|value| Value::Signed(value.cast_signed(), 64)),
        ("string" | "nul-string", _) => attribute.text().ok().map(Value::Text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown: Vec<_> = bytes.iter().take(HEX).map(|byte| format!("{byte:02x}")).collect();
    let rest = if bytes.len() > HEX { " …" } else { "" };
    format!("{} bytes {}{rest}", bytes.len(), shown.join(" ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::nested_policies;

    #[rustfmt::skip]
    const MESSAGE: [u8; 28] = [
        0x10, 0x00, 0x01, 0x00, // 1, nested by its policy
        0x08, 0x00, 0x02, 0x00, 0xfe, 0xff, 0xff, 0xff, // 2: -2
        0x04, 0x00, 0x03, 0x00, // 3: unknown, empty
        0x06, 0x00, 0x02, 0x00, 0x07, 0x00, 0x00, 0x00, // 2, too short for its policy
        0x09, 0x00, 0x05, 0x00, // cut
    ];

    fn text(family: &str, policies: Option<&Policies>) -> String {
        let lines = Decoder { family, policies, header_size: 0 }.lines(&MESSAGE);
        let lines: Vec<_> = lines.iter().map(|(depth, line)| format!("{:1$}{line}\n", "", 2 * depth)).collect();
        lines.concat()
    }

    #[test]
    fn values_are_decoded_by_policy_or_shown_in_hexadecimal() {
        let policies = nested_policies();
        let expected = "1:\n  2: -2\n  3: 0 bytes\n2: 2 bytes 07 00\nthe remaining bytes are malformed\n";
        assert_eq!(text("other", Some(&policies)), expected);
        let expected = "1 ALERT_MODE: 12 bytes 08 00 02 00 fe ff ff ff 04 00 03 00\n2 PC: 2 bytes 07 00\n";
        assert_eq!(text("NET_DM", None), format!("{expected}{CUT}\n"));
    }

    #[test]
    fn the_familys_own_header_is_skipped() {
        let lines = |header_size| Decoder { family: "x", policies: None, header_size }.lines(&MESSAGE[..12]);
        assert_eq!(lines(3), [(0, "2: 4 bytes fe ff ff ff".to_owned())]);
        assert_eq!(lines(u32::MAX), []);
    }

    #[test]
    fn values_of_each_type() {
        let shown = |kind, value: &[u8]| {
            let value =
                typed_value(&Attribute { kind: 1, is_nested: false, value }, kind).unwrap_or(Value::Bytes(value));
            let mut lines = Vec::new();
            show(&Decoded { number: 1, name: None, value }, 0, &mut lines);
            lines.remove(0).1.split_off(3)
        };
        assert_eq!(shown("u8", &[255]), "255");
        assert_eq!(shown("s8", &[255]), "-1");
        assert_eq!(shown("uint", &7_u32.to_ne_bytes()), "7");
        assert_eq!(shown("uint", &7_u64.to_ne_bytes()), "7");
        assert_eq!(shown("s64", &u64::MAX.to_ne_bytes()), "-1");
        assert_eq!(shown("s16", &u16::MAX.to_ne_bytes()), "-1");
        assert_eq!(shown("flag", &[]), "set");
        assert_eq!(shown("nul-string", b"lo\x1b\0"), "\"lo\\u{1b}\"");
        assert_eq!(shown("string", b"\xff"), "1 bytes ff");
        assert!(shown("binary", &[0; 65]).ends_with(" 00 …"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..=28) {
            let policies = nested_policies();
            let lines = Decoder { family: "nlctrl", policies: Some(&policies), header_size: 0 }.lines(&[&MESSAGE[..cut], &bytes].concat());
            prop_assert!(lines.iter().all(|(depth, _)| *depth < DEPTH));
        }
    }
}
