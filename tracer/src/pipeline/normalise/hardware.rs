//! Gives names to drops that devices report: the driver's name of the drop reason. Such drops have no drop site in the
//! kernel's code.

use std::sync::Arc;

use tracer_common::TrapNames;

use crate::backend::ebpf::text;
use crate::domain::event::{HARDWARE, Location, Reason};

/// Drop reason and location of a devlink trap.
pub(super) fn names(names: Option<TrapNames>) -> (Arc<Reason>, Arc<Location>) {
    let name = names.as_ref().and_then(|names| text(&names.trap));
    let group = names.as_ref().and_then(|names| text(&names.group));
    // Only a faulty driver has no name for its trap.
    (reason(name.unwrap_or("?")), location(group))
}

/// The drop reason of a devlink trap.
pub(super) fn reason(trap: &str) -> Arc<Reason> {
    Arc::new(Reason { value: None, subsystem: HARDWARE.into(), name: trap.into() })
}

/// The location of a group of devlink traps.
pub(super) fn location(group: Option<&str>) -> Arc<Location> {
    Arc::new(Location { address: 0, symbol: None, trap_group: group.map(Arc::from) })
}
