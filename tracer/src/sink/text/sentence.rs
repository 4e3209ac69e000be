//! A drop in a sentence, for logs.

use std::fmt::Write as _;

use super::packet::Described;
use crate::dimension;
use crate::domain::event::DropEvent;
use crate::domain::event::reason_name;
use crate::packet::Decoded;

/// `SOCKET_RCVBUFF at udp_queue_rcv_one_skb+0x1a7 on lo: UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90`, without unknown
/// facts, and without addresses of the kernel.
#[cfg_attr(not(any(test, feature = "otlp")), expect(dead_code, reason = "the text of pushed records"))]
pub(crate) fn drop_sentence(event: &DropEvent<'_>) -> String {
    let key = event.key;
    let location = &key.location;
    let mut sentence = match reason_name(&key.reason) {
        Some(_) => dimension::reason(&key.reason).into_owned(),
        None => "dropped".to_owned(),
    };
    if location.symbol.is_some() || location.trap_group.is_some() {
        _ = write!(sentence, " at {}", dimension::site(location, usize::MAX));
    }
    if key.ifindex != 0 {
        _ = write!(sentence, " on {}", dimension::interface(key));
    }
    _ = write!(sentence, ": {}", Described::new(event));
    sentence
}

/// `UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90`, of a packet that no record of a drop describes. `length` is in bytes.
pub(crate) fn packet_sentence(decoded: Decoded, length: u32) -> String {
    Described::of(decoded, length).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::{Location, NamedKey, Origin, PacketStart, Reason};
    use crate::sink::samples::{NEW_YEAR, key, udp_packet};

    fn sentence(key: NamedKey) -> String {
        let (key, bytes) = (Arc::new(key), udp_packet());
        let seen_by = Origin::Ebpf.alone();
        drop_sentence(&DropEvent {
            stack: &[],
            process: None,
            facts: crate::domain::facts::Facts::default(),
            timestamp: NEW_YEAR,
            key: &key,
            seen_by,
            length: 90,
            start: PacketStart::Mac,
            bytes: &bytes,
        })
    }

    #[test]
    fn sentence_has_known_facts_only() {
        let packet = "UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90";
        assert_eq!(sentence(key()), format!("SOCKET_RCVBUFF at udp_queue_rcv_one_skb+0x1a7 on lo: {packet}"));
        let location = Arc::new(Location { address: 0xffff_ffff_8204_5927, symbol: None, trap_group: None });
        let reason = Arc::new(Reason { value: Some(0), subsystem: "core".into(), name: "NOT_DROPPED_YET".into() });
        let unknown = NamedKey { reason, location, ifindex: 0, interface: None, ..key() };
        assert_eq!(sentence(unknown), format!("NOT_DROPPED_YET: {packet}"));
    }
}
