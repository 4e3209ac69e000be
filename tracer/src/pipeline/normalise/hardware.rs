//! Gives names to what devices drop: their drivers' words for the reason, and no place in the kernel's code.

use std::sync::Arc;

use tracer_common::TrapKey;

use super::{MAX_PLACES, Normaliser};
use crate::event::{HARDWARE, Location, Place, Reason};
use crate::source::ebpf::text;

impl Normaliser {
    pub(super) fn trapped(&mut self, key: &TrapKey, interface: impl FnOnce() -> Option<String>) -> Arc<Place> {
        if let Some(place) = self.trapped.get(key) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place {
            // A driver without a name for its trap would be at fault.
            reason: reason(text(&key.names.trap).unwrap_or("?")),
            location: location(text(&key.names.group)),
            protocol: key.protocol,
            interface: self.interface(key.netns, key.ifindex, interface).map(Arc::from),
            ifindex: key.ifindex,
            netns: key.netns,
            netns_name: self.namespaces.name(key.netns),
        });
        if self.trapped.len() >= MAX_PLACES {
            self.trapped.clear();
        }
        self.trapped.insert(*key, Arc::clone(&place));
        place
    }
}

/// The reason that a trap is.
pub(super) fn reason(trap: &str) -> Arc<Reason> {
    Arc::new(Reason { value: None, subsystem: HARDWARE.into(), name: trap.into() })
}

/// The place that a group of traps is.
pub(super) fn location(group: Option<&str>) -> Arc<Location> {
    Arc::new(Location { address: 0, symbol: None, trap_group: group.map(Arc::from) })
}
