//! The member `hidden`.

use serde::Serialize;

use crate::domain::report::HiddenDrops;

/// The sum of drops that are counted and not shown.
#[derive(Serialize)]
pub(super) struct Hidden {
    by: &'static str,
    /// Null for single drops.
    rows: Option<u64>,
    packets: u64,
    bytes: Option<u64>,
}

impl From<&HiddenDrops> for Hidden {
    fn from(hidden: &HiddenDrops) -> Self {
        let HiddenDrops { by, rows, packets, bytes } = *hidden;
        Self { by: by.name(), rows, packets, bytes }
    }
}
