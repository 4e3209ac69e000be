//! Shows netlink messages, as `NLCB=debug` does for programs on libnl.

use std::fmt::{self, Write as _};

use tracing::Level;

use super::wire::{self, Attribute, GENERIC_HEADER, Message};

/// The log target of these lines, for the log's filter.
pub(crate) const TARGET: &str = "netlink";

/// The environment variable that shows messages without `-vvv`, unless it is empty or `0`.
pub(crate) const VARIABLE: &str = "DROPTRACE_NETLINK_DEBUG";

/// Returns whether [`VARIABLE`] is set, and is neither empty nor `0`.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Shows a message before it is sent. Generic netlink messages (`is_generic`) have a command and attributes.
pub(super) fn sent(bytes: &[u8], is_generic: bool) {
    show("sent", bytes, is_generic);
}

/// Shows a received datagram.
pub(super) fn received(bytes: &[u8], is_generic: bool) {
    show("received", bytes, is_generic);
}

fn show(what: &str, bytes: &[u8], is_generic: bool) {
    if tracing::enabled!(target: TARGET, Level::TRACE) {
        for message in wire::messages(bytes) {
            match message {
                Ok(message) => tracing::trace!(target: TARGET, "{what} {}", Shown { message: &message, is_generic }),
                Err(error) => tracing::trace!(target: TARGET, "{what} {error}\n{}", Hex(bytes)),
            }
        }
    }
}

/// The greatest depth of nested attributes, which is enough for all families.
const DEPTH: usize = 4;

struct Shown<'m> {
    message: &'m Message<'m>,
    is_generic: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, is_generic } = self;
        let header = &message.header;
        write!(f, "{} bytes, type {}", header.length, kind(header.message_type))?;
        write!(f, ", flags {:#x}{}", header.flags, flags(header.flags))?;
        write!(f, ", sequence {}, port {}", header.sequence_number, header.port_number)?;
        if *is_generic
            && header.message_type >= 0x10
            && let Ok((command, attributes)) = message.generic()
        {
            let version = message.payload.get(1).copied().unwrap_or_default();
            write!(f, ", command {command}, version {version}")?;
            show_attributes(f, attributes, 1)?;
        }
        write!(f, "\n{}", Hex(message.bytes))
    }
}

/// The name of a message type, `NLMSG_…` (`include/uapi/linux/netlink.h`). The numbers of families follow these types.
fn kind(number: u16) -> String {
    match number {
        1 => "NLMSG_NOOP".into(),
        2 => "NLMSG_ERROR".into(),
        3 => "NLMSG_DONE".into(),
        4 => "NLMSG_OVERRUN".into(),
        16 => "nlctrl (16)".into(),
        _ => number.to_string(),
    }
}

fn flags(flags: u16) -> String {
    let names = [(1, "REQUEST"), (2, "MULTI"), (4, "ACK"), (8, "ECHO"), (16, "DUMP_INTR")];
    let set: Vec<_> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { String::new() } else { format!(" ({})", set.join(" ")) }
}

fn show_attributes(f: &mut fmt::Formatter<'_>, bytes: &[u8], depth: usize) -> fmt::Result {
    for attribute in wire::attributes(bytes) {
        let Ok(Attribute { kind, is_nested, value }) = attribute else {
            return write!(f, "\n{:indent$}…cut", "", indent = 2 * depth);
        };
        write!(f, "\n{:indent$}attribute {kind}, {} bytes", "", value.len(), indent = 2 * depth)?;
        if is_nested && depth < DEPTH {
            show_attributes(f, value, depth + 1)?;
        } else {
            f.write_str(": ")?;
            value.iter().take(32).try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str(if value.len() > 32 { "…" } else { "" })?;
        }
    }
    Ok(())
}

/// Shows all bytes of a message, headers included, with sixteen bytes in each line.
struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, bytes) in self.0.chunks(4 * GENERIC_HEADER).enumerate() {
            if line > 0 {
                f.write_char('\n')?;
            }
            write!(f, "  {:04x} ", line * 16)?;
            bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
            write!(f, "{:pad$}  ", "", pad = 3 * (16 - bytes.len()))?;
            let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
            bytes.iter().map(printable).try_for_each(|byte| f.write_char(byte))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_in_full() {
        let bytes = [
            &[40, 0, 0, 0, 16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0][..],
            &[16, 0, 7, 0x80, 10, 0, 2, 0, b'N', b'E', b'T', b'_', b'D', b'M', 0, 0],
            &[9, 0, 1, 0],
        ]
        .concat();
        let message = wire::messages(&bytes).next().unwrap().unwrap();
        insta::assert_snapshot!(Shown { message: &message, is_generic: true }, @r"
        40 bytes, type nlctrl (16), flags 0x5 (REQUEST ACK), sequence 1, port 0, command 3, version 2
          attribute 7, 12 bytes
            attribute 2, 6 bytes: 4e45545f444d
          …cut
          0000  28 00 00 00 10 00 05 00 01 00 00 00 00 00 00 00  (...............
          0010  03 02 00 00 10 00 07 80 0a 00 02 00 4e 45 54 5f  ............NET_
          0020  44 4d 00 00 09 00 01 00                          DM......
        ");
        let raw = Shown { message: &message, is_generic: false }.to_string();
        assert!(raw.lines().nth(1).is_some_and(|line| line.starts_with("  0000  28 00")), "{raw}");
    }
}
