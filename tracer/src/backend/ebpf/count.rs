//! Drops of one key or flow.

use tracer_common::KeyNames;

/// Counts of one key over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Drops.
    pub packets: u64,
    /// Bytes of the dropped packets.
    pub bytes: u64,
    /// First drop, nanoseconds of the kernel's `CLOCK_MONOTONIC`, to one tick of its timer.
    pub first_ns: u64,
    /// Last drop, likewise.
    pub last_ns: u64,
    /// Names that were known at the first drop, or as soon as there was room for them.
    pub names: KeyNames,
}

impl Count {
    pub(super) fn merge(&mut self, other: &Self, names: impl FnOnce() -> KeyNames) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        if self.names.netns_inum == 0 || self.names.interface[0] == 0 {
            let known = names();
            if self.names.netns_inum == 0 {
                self.names.netns_inum = known.netns_inum;
            }
            if self.names.interface[0] == 0 {
                self.names.interface = known.interface;
            }
        }
    }
}
