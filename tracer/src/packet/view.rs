//! A packet as a filter sees it.

use super::bytes::be16;
use super::decode::{ETHERNET_HEADER, Link, is_vlan_tag, link};
use crate::domain::event::PacketStart;
use crate::domain::facts::VlanTag;
use crate::filter::View;
use crate::filter::code::TAGGED;

/// The leading bytes of a packet for a filter. `protocol` is `skb->protocol`, 0 when not set, and `tag` the VLAN tag that
/// the kernel removed from the bytes. As in [`super::decode`], bytes count as Ethernet only where they agree with `protocol`.
pub fn view(start: PacketStart, protocol: u16, length: u32, bytes: &[u8], tag: Option<VlanTag>) -> View<'_> {
    let vlan_tag = tag.map_or(0, |tag| TAGGED | u32::from(tag.tci));
    let unknown = View { link: &[], network: &[], protocol, length, vlan_tag };
    match start {
        PacketStart::Nothing => unknown,
        PacketStart::Network => behind_tags(protocol, bytes, unknown),
        PacketStart::Mac => match link(protocol, bytes) {
            Link::Ethernet { ether_type, .. } => {
                behind_tags(ether_type, &bytes[ETHERNET_HEADER..], View { link: bytes, ..unknown })
            }
            Link::BareIp => View { network: bytes, ..unknown },
            Link::Short | Link::Unknown => unknown,
        },
    }
}

/// Steps over the VLAN tags in the bytes. The outermost tag is the one that the kernel removed, or else the first one.
fn behind_tags<'b>(mut ether_type: u16, mut bytes: &'b [u8], mut view: View<'b>) -> View<'b> {
    while is_vlan_tag(ether_type) {
        let (Some(tci), Some(inner)) = (be16(bytes, 0), be16(bytes, 2)) else {
            // The bytes end within the tag.
            return View { protocol: 0, network: &[], ..view };
        };
        if view.vlan_tag == 0 {
            view.vlan_tag = TAGGED | u32::from(tci);
        }
        (ether_type, bytes) = (inner, &bytes[4..]);
    }
    // Frames of 802.3 have a length there, and the kernel's own number of their protocol.
    let protocol = if ether_type < super::decode::MIN_ETHER_TYPE { view.protocol } else { ether_type };
    View { network: bytes, protocol, ..view }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::filter::question::Question;

    /// A UDP datagram to port 53 over IPv4.
    const DATAGRAM: [u8; 28] =
        [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 4, 210, 0, 53, 0, 8, 0, 0];

    fn frame(between: &[u8]) -> Vec<u8> {
        [&[2; 12], between, &DATAGRAM].concat()
    }

    struct Nothing;

    impl crate::filter::Answers for Nothing {
        fn answer(&self, _question: &Question) -> bool {
            false
        }
    }

    fn matches(text: &str, view: View<'_>) -> bool {
        Filter::parse(text).unwrap().matches(&view, &Nothing)
    }

    #[test]
    fn network_header_is_found_from_each_start() {
        let plain = frame(&[8, 0]);
        let tagged = frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0x20, 7, 8, 0]);
        let ethernet = |bytes| view(PacketStart::Mac, 0x800, 60, bytes, None);
        for packet in [ethernet(&plain), ethernet(&tagged), view(PacketStart::Network, 0x800, 60, &DATAGRAM, None)] {
            assert!(matches("udp port 53 and ip and len = 60", packet), "{packet:?}");
        }
        assert!(matches("vlan 5 and ether[12:2] = 0x88a8", ethernet(&tagged)) && !matches("vlan", ethernet(&plain)));
        let removed = VlanTag { protocol: 0x8100, tci: 9 };
        assert!(matches("vlan 9 and port 53", view(PacketStart::Mac, 0x800, 60, &plain, Some(removed))));
        assert!(!matches("udp and not ether[0] = 2", view(PacketStart::Mac, 0x800, 60, &DATAGRAM, None)));
        assert!(matches("udp port 53", view(PacketStart::Mac, 0x800, 60, &DATAGRAM, None)), "bare IP");
    }

    #[test]
    fn bytes_that_are_missing_match_nothing() {
        for packet in [
            view(PacketStart::Nothing, 0x800, 60, &[], None),
            view(PacketStart::Mac, 0x800, 60, &frame(&[8, 0])[..10], None),
            view(PacketStart::Mac, 0x1234, 60, &frame(&[8, 0]), None),
        ] {
            assert!(!matches("ip[0] = 69", packet) && !matches("not ip[0] = 0 and ip", packet), "{packet:?}");
        }
        assert_eq!(view(PacketStart::Mac, 0x800, 60, &frame(&[0x81, 0, 0])[..15], None).protocol, 0);
    }
}
