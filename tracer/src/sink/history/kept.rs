//! The single drops of an interval that its history keeps: of rows that healthy hosts never have.

use std::collections::HashMap;
use std::io;

use foldhash::fast::RandomState;

use crate::domain::event::DropEvent;
use crate::domain::identity::Identity;
use crate::explain::{Usual, usual_of};
use crate::sink::DropSink as _;
use crate::sink::json::{RawJson, RawOptions};

/// The most drops of an interval.
const MOST: u64 = 64;
/// The most drops of one row.
const OF_A_ROW: u32 = 4;
/// The most drops of rows that have a drop already: the rest of the room is for the first drops of rows.
const FURTHER: u64 = MOST / 2;

/// The drops that were kept, as lines of `droptrace.raw.v1`. The first drop of a row has more room than further ones.
pub(crate) struct Kept {
    lines: RawJson<Vec<u8>>,
    rows: HashMap<Identity, u32, RandomState>,
    count: u64,
    further: u64,
    left_out: u64,
}

impl Default for Kept {
    fn default() -> Self {
        let lines = RawJson::new(Vec::new(), RawOptions::default());
        Self { lines, rows: HashMap::default(), count: 0, further: 0, left_out: 0 }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({} drops)", self.count)
    }
}

impl Kept {
    /// Keeps a drop if there is room, and counts it if there is none. Other drops than those of rows that healthy hosts never have
    /// are ignored.
    pub(crate) fn add(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        if !event.key.kind.is_packet() || usual_of(event.key) != Some(Usual::Never) {
            return Ok(());
        }
        let identity = Identity::from(&**event.key);
        let of_row = self.rows.get(&identity).copied().unwrap_or_default();
        let is_first = of_row == 0;
        let has_room = self.count < MOST && (is_first || (of_row < OF_A_ROW && self.further < FURTHER));
        if !has_room {
            self.left_out += 1;
            return Ok(());
        }
        self.lines.event(event)?;
        self.rows.insert(identity, of_row + 1);
        self.count += 1;
        self.further += u64::from(!is_first);
        Ok(())
    }

    /// Whether there was no drop to keep.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0 && self.left_out == 0
    }

    /// Number of drops that were kept.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Number of drops that found no room.
    pub(crate) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Adds the drops of a later interval, or counts them if they find no room.
    pub(crate) fn append(&mut self, later: &Self) {
        self.left_out += later.left_out;
        if self.count + later.count > MOST {
            self.left_out += later.count;
            return;
        }
        self.count += later.count;
        self.lines.out().extend_from_slice(later.lines());
    }

    /// The lines.
    pub(crate) fn lines(&self) -> &[u8] {
        self.lines.written()
    }
}
