//! Identifies packets by their first bytes.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use crate::domain::event::PacketStart;

/// Leading bytes that identify a packet: Ethernet, IPv4, and the eight bytes behind the IPv4 header, which ICMP quotes
/// for the same purpose (RFC 792): ports with TCP's sequence number or UDP's checksum.
///
/// The prefix is not longer, because both sources must have all of its bytes. The kernel program copies the packet's
/// first piece, and drivers and TCP put no more than the headers there. `NET_DM` copies from all pieces, so a longer
/// prefix would differ between the two sources for just those packets. The prefix does not depend on the number of
/// captured bytes either: it would differ wherever the two sources capture different lengths.
pub const PREFIX: usize = 42;

/// A 128-bit hash of a packet's first bytes. Only fingerprints of the same [`Fingerprinter`] can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u64; 2]);

/// Reason why a drop cannot be joined with a drop that the other source saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpairable {
    /// The packet had no MAC header. `NET_DM`'s packet mode skips such packets (`net_dm_packet_trace_kfree_skb_hit`,
    /// `net/core/drop_monitor.c`), so no other source saw the drop.
    NoMacHeader,
    /// Fewer bytes were captured than the prefix has.
    TooFewBytes,
}

/// Computes fingerprints: two hashes under random keys. The sender of packets cannot choose packets with equal
/// fingerprints.
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
    /// Hashes the first `prefix` bytes: [`PREFIX`], or less where either source captures less of each packet. With 0,
    /// only the drop site, the drop reason and the length identify a drop.
    pub fn new(prefix: usize) -> Self {
        Self { prefix, halves: [RandomState::default(), RandomState::default()] }
    }

    /// Fingerprint of a packet of `length` bytes, whose captured bytes begin with `start`. The fingerprint depends on
    /// the first bytes of the packet alone, not on the number of captured bytes. A packet that is shorter than the
    /// prefix is hashed as a whole.
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
    fn fingerprint_is_independent_of_captured_length() {
        let prints = Fingerprinter::default();
        let of = |captured: usize| prints.of(PacketStart::Mac, &PACKET[..captured], 1500);
        assert_eq!(of(PREFIX), of(128));
        assert_eq!(of(PREFIX), of(64));
        assert_eq!(of(PREFIX - 1), Err(Unpairable::TooFewBytes));
    }

    #[test]
    fn short_packets_are_hashed_as_a_whole() {
        let prints = Fingerprinter::default();
        // Bytes behind the packet's end do not belong to the packet.
        assert_eq!(prints.of(PacketStart::Mac, &PACKET[..20], 20), prints.of(PacketStart::Mac, &PACKET, 20));
        assert_ne!(prints.of(PacketStart::Mac, &PACKET, 20), prints.of(PacketStart::Mac, &PACKET, 21));
    }

    #[test]
    fn each_bit_of_the_prefix_changes_the_fingerprint() {
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
    fn packets_without_a_mac_header_have_no_fingerprint() {
        let prints = Fingerprinter::default();
        assert_eq!(prints.of(PacketStart::Network, &PACKET, 128), Err(Unpairable::NoMacHeader));
        assert_eq!(prints.of(PacketStart::Nothing, &[], 128), Err(Unpairable::NoMacHeader));
        assert_eq!(prints.of(PacketStart::Mac, &[], 128), Err(Unpairable::TooFewBytes));
        assert!(prints.of(PacketStart::Mac, &[], 0).is_ok());
        assert!(Fingerprinter::new(0).of(PacketStart::Mac, &[], 128).is_ok());
    }
}
