//! Shortens names to a width, and replaces their hidden characters.

use std::borrow::Cow;

use crate::domain::event::reason_name;
use crate::domain::event::{Location, Origin, Place, Reason};
use crate::outside::printable;

/// A shorter symbol is useless.
const MIN_SYMBOL: usize = 8;

/// The text in at most `width` characters, with `…` for the part that was cut out of its middle.
pub fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= width {
        return text.into();
    }
    let kept = width.saturating_sub(1);
    let head = kept.div_ceil(2);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - (kept - head))).take(width).collect()
}

/// The text of a drop reason: `SOCKET_RCVBUFF`, `openvswitch:LAST_ACTION`, `-` if the kernel gives no reason.
pub fn reason(reason: &Reason) -> Cow<'_, str> {
    match reason_name(reason) {
        None => "-".into(),
        Some(name) if &*reason.subsystem == "core" => printable(name),
        Some(name) => printable(&format!("{}:{name}", reason.subsystem)).into_owned().into(),
    }
}

/// The text of a drop site: `udp_queue_rcv_one_skb+0x1a7`, `nf_hook_slow+0x5 [nf]`, the address, `group l3_drops` for a
/// hardware drop, or `-` if the site is unknown; in at most `width` characters, where the symbol is shortened first,
/// then the module.
pub fn location(location: &Location, width: usize) -> String {
    let Some(symbol) = &location.symbol else {
        if let Some(group) = &location.trap_group {
            return shorten(&format!("group {}", printable(group)), width).into_owned();
        }
        if location.address == 0 {
            return "-".into();
        }
        return shorten(&format!("{:#x}", location.address), width).into_owned();
    };
    let name = printable(&symbol.name);
    let length = name.chars().count();
    let offset = format!("+{:#x}", symbol.offset);
    let tails = match &symbol.module {
        Some(module) => [format!("{offset} [{}]", printable(module)), format!("{offset} […]")],
        None => [offset.clone(), offset],
    };
    for tail in &tails {
        let room = width.saturating_sub(tail.chars().count());
        if room >= length.min(MIN_SYMBOL) {
            return format!("{}{tail}", shorten(&name, room));
        }
    }
    shorten(&format!("{name}{}", tails[1]), width).into_owned()
}

/// The text of an interface: `eth0`, `if7` if it has no name, `-` if there is no interface, `netlink` if the drop was
/// not a packet of a network but a message to a netlink socket.
pub fn interface(place: &Place) -> Cow<'_, str> {
    match &place.interface {
        Some(name) => printable(name),
        None if place.is_netlink_message() => "netlink".into(),
        None if place.ifindex == 0 => "-".into(),
        None => format!("if{}", place.ifindex).into(),
    }
}

/// The namespace's name, its inode number if it has no name, `-` if it is unknown.
pub fn netns(place: &Place) -> Cow<'_, str> {
    match &place.netns_name {
        Some(name) => printable(name),
        None if place.netns == 0 => "-".into(),
        None => place.netns.to_string().into(),
    }
}

/// The backends that reported a drop: `ebpf`, `net_dm`, `ebpf+net_dm`, `-` for none.
pub const fn seen_by(origins: &[Origin]) -> &'static str {
    match origins {
        [] => "-",
        [only] => only.name(),
        _ => "ebpf+net_dm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Symbol;

    #[test]
    fn long_text_loses_its_middle() {
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghij", 9), "abcd…ghij");
        assert_eq!(shorten("abcdefghij", 4), "ab…j");
        assert_eq!(shorten("äbcdefghïj", 4), "äb…j");
        assert_eq!(shorten("abc", 1), "…");
        assert_eq!(shorten("abc", 0), "");
    }

    #[test]
    fn location_keeps_its_offset_and_module() {
        let symbol = Symbol { name: "tcp_v4_do_rcv".into(), offset: 0x1a7, module: None };
        let in_module = Symbol { module: Some("nf_tables".into()), ..symbol.clone() };
        let at = |symbol: &Symbol, width| {
            location(
                &Location { address: 0xffff_ffff_8204_5927, symbol: Some(symbol.clone()), trap_group: None },
                width,
            )
        };
        assert_eq!(at(&symbol, 18), "tcp_v4_do_rcv+0x1a7".replace("_do_", "…o_"));
        assert_eq!(at(&symbol, 19), "tcp_v4_do_rcv+0x1a7");
        assert_eq!(at(&in_module, 31), "tcp_v4_do_rcv+0x1a7 [nf_tables]");
        assert_eq!(at(&in_module, 27), "tcp_…_rcv+0x1a7 [nf_tables]");
        assert_eq!(at(&in_module, 26), "tcp_…rcv+0x1a7 [nf_tables]");
        assert_eq!(at(&in_module, 20), "tcp_v…_rcv+0x1a7 […]");
        assert_eq!(at(&in_module, 12), "tcp_v4…7 […]");
        let hidden = Location { address: 0xffff_ffff_8204_5927, symbol: None, trap_group: None };
        assert_eq!(location(&hidden, 30), "0xffffffff82045927");
        assert_eq!(location(&Location { address: 0, symbol: None, trap_group: None }, 30), "-");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("eth0\x1b[2J"), "eth0\u{fffd}[2J");
    }
}
