//! What packets are told apart by: their first bytes.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use crate::domain::event::PacketStart;

/// Leading bytes that tell packets apart: Ethernet, IPv4, and the eight bytes behind it which ICMP quotes for the same
/// purpose (RFC 792), that is ports with TCP's sequence number or UDP's checksum.
///
/// Not more, for both sources must have them. The kernel program copies what lies in the packet's first piece, and
/// drivers and TCP put no more than the headers there. `NET_DM` copies from all pieces, so a longer prefix would differ
/// between the two for just those packets. Nor is it taken from what either happened to capture: a prefix as long as
/// the bytes at hand would differ wherever the two capture different lengths.
pub const PREFIX: usize = 42;

/// 128 bits of a packet's first bytes. Only those of one [`Fingerprinter`] compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u64; 2]);

/// Why a drop cannot be joined with what the other source heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpairable {
    /// The packet had no MAC header. `NET_DM`'s packet mode skips those (`net_dm_packet_trace_kfree_skb_hit`,
    /// `net/core/drop_monitor.c`), so nobody else heard it.
    NoMacHeader,
    /// Fewer bytes were captured than packets are told apart by.
    TooFewBytes,
}

/// Takes fingerprints. Two hashes under keys drawn at random: who sends packets cannot choose those that look alike.
#[derive(Clone, Debug)]
pub struct Fingerprinter {
    prefix: usize,
    halves: [RandomState; 2],
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self::new(PREFIX)
    }
}

impl Fingerprinter {
    /// By the first `prefix` bytes: [`PREFIX`], or less where either source is set to capture less of each packet.
    /// With 0, packets are told apart by place, reason and length alone.
    pub fn new(prefix: usize) -> Self {
        Self { prefix, halves: [RandomState::default(), RandomState::default()] }
    }

    /// Of a packet of `length` bytes, whose captured bytes begin with `start`. Depends on the first bytes of the packet
    /// alone, not on how many were captured; packets shorter than the prefix count as a whole.
    pub fn of(&self, start: PacketStart, bytes: &[u8], length: u32) -> Result<Fingerprint, Unpairable> {
        let wanted = self.prefix.min(length as usize);
        match start {
            PacketStart::Network | PacketStart::Nothing => return Err(Unpairable::NoMacHeader),
            PacketStart::Mac => {}
        }
        let bytes = bytes.get(..wanted).ok_or(Unpairable::TooFewBytes)?;
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(bytes);
            hasher.finish()
        };
        Ok(Fingerprint([half(&self.halves[0]), half(&self.halves[1])]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 128] = [7; 128];

    #[test]
    fn captured_lengths_do_not_matter() {
        let prints = Fingerprinter::default();
        let of = |captured: usize| prints.of(PacketStart::Mac, &PACKET[..captured], 1500);
        assert_eq!(of(PREFIX), of(128));
        assert_eq!(of(PREFIX), of(64));
        assert_eq!(of(PREFIX - 1), Err(Unpairable::TooFewBytes));
    }

    #[test]
    fn short_packets_count_as_a_whole() {
        let prints = Fingerprinter::default();
        // Bytes behind the packet's end are not its own.
        assert_eq!(prints.of(PacketStart::Mac, &PACKET[..20], 20), prints.of(PacketStart::Mac, &PACKET, 20));
        assert_ne!(prints.of(PacketStart::Mac, &PACKET, 20), prints.of(PacketStart::Mac, &PACKET, 21));
    }

    #[test]
    fn one_bit_of_the_prefix_makes_another_packet() {
        let prints = Fingerprinter::default();
        let original = prints.of(PacketStart::Mac, &PACKET, 128);
        for bit in 0..PACKET.len() * 8 {
            let mut packet = PACKET;
            packet[bit / 8] ^= 1 << (bit % 8);
            let alike = prints.of(PacketStart::Mac, &packet, 128) == original;
            assert_eq!(alike, bit / 8 >= PREFIX, "bit {bit}");
        }
    }

    #[test]
    fn packets_without_a_mac_header_have_none() {
        let prints = Fingerprinter::default();
        assert_eq!(prints.of(PacketStart::Network, &PACKET, 128), Err(Unpairable::NoMacHeader));
        assert_eq!(prints.of(PacketStart::Nothing, &[], 128), Err(Unpairable::NoMacHeader));
        assert_eq!(prints.of(PacketStart::Mac, &[], 128), Err(Unpairable::TooFewBytes));
        assert!(prints.of(PacketStart::Mac, &[], 0).is_ok());
        assert!(Fingerprinter::new(0).of(PacketStart::Mac, &[], 128).is_ok());
    }
}
