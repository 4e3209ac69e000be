//! Gives names to what devices drop: their drivers' words for the reason, and no place in the kernel's code.

use std::sync::Arc;

use tracer_common::TrapNames;

use crate::backend::ebpf::text;
use crate::domain::event::{HARDWARE, Location, Reason};

/// Reason and location of a devlink trap.
pub(super) fn names(names: Option<TrapNames>) -> (Arc<Reason>, Arc<Location>) {
    let name = names.as_ref().and_then(|names| text(&names.trap));
    let group = names.as_ref().and_then(|names| text(&names.group));
    // A driver without a name for its trap would be at fault.
    (reason(name.unwrap_or("?")), location(group))
}

/// The reason that a trap is.
pub(super) fn reason(trap: &str) -> Arc<Reason> {
    Arc::new(Reason { value: None, subsystem: HARDWARE.into(), name: trap.into() })
}

/// The location that a group of traps is.
pub(super) fn location(group: Option<&str>) -> Arc<Location> {
    Arc::new(Location { address: 0, symbol: None, trap_group: group.map(Arc::from) })
}
