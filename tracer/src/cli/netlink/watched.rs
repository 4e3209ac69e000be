//! Shows the events of `droptrace netlink watch` as text or JSON (`droptrace.netlink_watch.v1`).

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::args::Format;
use crate::netlink::wire::Malformed;
use crate::netlink::{Decoded, Decoder, Value, names};
use crate::outside::printable;
use crate::outside::to_json;

/// An event that a subscriber receives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'m> {
    /// A message arrived.
    Message {
        command: u8,
        /// The bytes after the generic header.
        body: &'m [u8],
    },
    /// A malformed message arrived. The rest of its datagram cannot be read.
    Malformed(Malformed),
    /// A datagram was longer than its slot, and its rest is lost.
    Cut,
    /// Messages were lost because the receive buffer was full. The number counts the lost messages since the start; it
    /// is absent if the kernel does not report it.
    Overrun(Option<u32>),
}

impl Seen<'_> {
    /// Writes the event; `time` is the time at which it was read.
    pub(super) fn write(
        self,
        out: &mut impl Write,
        format: Format,
        time: &str,
        decoder: &Decoder<'_>,
    ) -> io::Result<()> {
        match format {
            Format::Text => self.write_text(out, time, decoder),
            Format::Json => self.write_json(out, time, decoder),
        }
    }

    fn write_text(self, out: &mut impl Write, time: &str, decoder: &Decoder<'_>) -> io::Result<()> {
        match self {
            Self::Message { command, body } => {
                let name = names::command(decoder.family, command.into());
                let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                writeln!(out, "{time}  {} command {command}{name}", printable(decoder.family))?;
                for (depth, line) in decoder.lines(body) {
                    writeln!(out, "{:1$}{2}", "", 4 + 2 * depth, printable(&line))?;
                }
                Ok(())
            }
            Self::Malformed(error) => writeln!(out, "{time}  {error}"),
            Self::Cut => writeln!(out, "{time}  the rest of a longer message was lost"),
            Self::Overrun(dropped) => {
                let dropped = dropped.map_or_else(String::new, |dropped| format!(": {dropped} since the start"));
                writeln!(out, "{time}  OVERRUN: messages were lost here because the receive buffer was full{dropped}")
            }
        }
    }

    fn write_json(self, out: &mut impl Write, timestamp: &str, decoder: &Decoder<'_>) -> io::Result<()> {
        let mut line = Line { timestamp, family: decoder.family, ..Line::default() };
        match self {
            Self::Message { command, body } => {
                let (attributes, is_whole) = decoder.attributes(body);
                line.command = Some(command);
                line.command_name = names::command(decoder.family, command.into());
                line.attributes = Some(attributes.into_iter().map(AttributeJson::from).collect());
                line.whole = Some(is_whole);
                line.event = "message";
            }
            Self::Malformed(error) => {
                line.error = Some(error.0);
                line.event = "malformed";
            }
            Self::Cut => line.event = "cut",
            Self::Overrun(dropped) => {
                line.dropped = dropped;
                line.event = "overrun";
            }
        }
        to_json(&mut *out, &line)?;
        out.write_all(b"\n")
    }
}

#[derive(Serialize)]
struct Line<'l> {
    schema: &'static str,
    timestamp: &'l str,
    family: &'l str,
    event: &'static str,
    command: Option<u8>,
    command_name: Option<&'static str>,
    attributes: Option<Vec<AttributeJson<'l>>>,
    whole: Option<bool>,
    error: Option<&'static str>,
    dropped: Option<u32>,
}

impl Default for Line<'_> {
    fn default() -> Self {
        Self {
            schema: "droptrace.netlink_watch.v1",
            timestamp: "",
            family: "",
            event: "",
            command: None,
            command_name: None,
            attributes: None,
            whole: None,
            error: None,
            dropped: None,
        }
    }
}

#[derive(Serialize)]
struct AttributeJson<'l> {
    number: u16,
    name: Option<&'static str>,
    r#type: String,
    value: ValueJson<'l>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ValueJson<'l> {
    Set(bool),
    Unsigned(u64),
    Signed(i64),
    Text(&'l str),
    /// Numbers of 64 bits, which some JSON readers do not hold, and bytes in hexadecimal.
    Spelt(String),
    Nested(Vec<AttributeJson<'l>>),
}

impl<'l> From<Decoded<'l>> for AttributeJson<'l> {
    fn from(Decoded { number, name, value }: Decoded<'l>) -> Self {
        let (kind, value) = match value {
            Value::Set => ("flag".to_owned(), ValueJson::Set(true)),
            Value::Unsigned(value, 64) => ("u64".to_owned(), ValueJson::Spelt(value.to_string())),
            Value::Unsigned(value, bits) => (format!("u{bits}"), ValueJson::Unsigned(value)),
            Value::Signed(value, 64) => ("s64".to_owned(), ValueJson::Spelt(value.to_string())),
            Value::Signed(value, bits) => (format!("s{bits}"), ValueJson::Signed(value)),
            Value::Text(text) => ("string".to_owned(), ValueJson::Text(text)),
            Value::Nested(within) => {
                ("nested".to_owned(), ValueJson::Nested(within.into_iter().map(Self::from).collect()))
            }
            Value::Bytes(bytes) => {
                let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                ("binary".to_owned(), ValueJson::Spelt(digits.concat()))
            }
        };
        Self { number, name, r#type: kind, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::nested_policies;

    #[rustfmt::skip]
    const BODY: [u8; 28] = [
        0x0c, 0x00, 0x01, 0x00, 0x08, 0x00, 0x02, 0x00, 0x07, 0x00, 0x00, 0x00, // 1, in it 2: 7
        0x0c, 0x00, 0x02, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, // 2, too long for its policy
        0xff, 0x00, 0x00, 0x00, // cut
    ];

    fn shown(format: Format) -> String {
        let policies = nested_policies();
        let decoder = Decoder { family: "NET_DM", policies: Some(&policies), header_size: 0 };
        let all = [
            Seen::Message { command: 5, body: &BODY },
            Seen::Message { command: 99, body: &[] },
            Seen::Malformed(Malformed("a message without a header")),
            Seen::Cut,
            Seen::Overrun(Some(7)),
            Seen::Overrun(None),
        ];
        let mut out = Vec::new();
        for seen in all {
            seen.write(&mut out, format, "2026-01-01T00:00:00Z", &decoder).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_line_for_each_event() {
        insta::assert_snapshot!(shown(Format::Json));
    }

    #[test]
    fn text_for_each_event() {
        insta::assert_snapshot!(shown(Format::Text));
    }

    #[test]
    fn numbers_that_json_does_not_hold_are_spelt() {
        let json = |value| serde_json::to_value(AttributeJson::from(Decoded { number: 1, name: None, value })).unwrap();
        assert_eq!(json(Value::Unsigned(u64::MAX, 64))["value"], "18446744073709551615");
        assert_eq!(json(Value::Signed(i64::MIN, 64))["value"], "-9223372036854775808");
        assert_eq!(json(Value::Signed(-1, 8))["value"], -1);
        assert_eq!(json(Value::Text("lo"))["value"], "lo");
        assert_eq!(json(Value::Set)["value"], true);
    }
}
