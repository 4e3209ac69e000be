//! Whose packets the drops of a row were.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};

use super::{NAME, Row, Snapshot, text};
use crate::domain::event::Timestamp;

/// The owner of the packets of a row. A name that is `None` is unknown, was not asked for, or the owner has no such name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowOwner {
    /// What is known of the owner: a name of [`crate::domain::attribution::Attribution`].
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub attribution: String,
    /// `namespace/name` of the Kubernetes pod, or its UID.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub pod: Option<String>,
    /// The name of the container, or the first 12 digits of its id.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub container: Option<String>,
    /// The innermost systemd unit.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub unit: Option<String>,
    /// Path of the control group below the mount of cgroup2.
    #[serde(default, deserialize_with = "text::option::<PATH, _>")]
    pub cgroup: Option<String>,
    /// `receiver` or `owner`: which socket the owner's is.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub socket_role: Option<String>,
}

/// The most bytes of a path (`PATH_MAX`, `include/uapi/linux/limits.h`).
const PATH: usize = 4096;

impl Snapshot {
    /// The rows as a snapshot without owners has them: rows that differ in nothing else are one.
    pub fn rows_without_owners(&self) -> Cow<'_, [Row]> {
        if self.drops.iter().all(|row| row.owner.is_none()) {
            return Cow::Borrowed(&self.drops);
        }
        let (mut rows, mut positions) = (Vec::<Row>::new(), HashMap::<Row, usize>::new());
        for row in &self.drops {
            match positions.entry(key(row)) {
                Entry::Occupied(known) => rows[*known.get()].add(row),
                Entry::Vacant(new) => {
                    new.insert(rows.len());
                    rows.push(Row { owner: None, ..row.clone() });
                }
            }
        }
        Cow::Owned(rows)
    }
}

/// The key of a row without its owner: the row with zero drops and no times.
fn key(row: &Row) -> Row {
    let never = Timestamp(0);
    Row { owner: None, packets: 0, bytes: None, first_seen: never, last_seen: never, ..row.clone() }
}
