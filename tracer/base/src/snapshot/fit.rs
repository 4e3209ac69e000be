//! Keeps a document within what is read of one.

use std::cmp::Reverse;
use std::fmt;
use std::io::{self, Write};

use super::read::MAX_BYTES;
use super::{MOST, Overflow, REASON, Row, SOME, Snapshot};
use crate::outside::to_json;
use crate::render::number::Grouped;

/// Kept free for the drops of places that are left out, by reason.
const ROOM: u64 = 8 << 20;
/// Rows kept free for what are no packets, by kind: more than there are kinds.
const KINDS: usize = 16;
/// Reasons that they are told apart by.
const REASONS: usize = 4096;

/// What a document may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) interfaces: usize,
    pub(super) bytes: u64,
}

impl Limits {
    const OF_READERS: Self = Self { rows: MOST - KINDS, interfaces: SOME, bytes: MAX_BYTES - ROOM };
}

/// What found no room in a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Places whose drops are told by reason only.
    pub places: usize,
    /// Drops of them.
    pub packets: u64,
    /// Interfaces that are not told.
    pub interfaces: usize,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { places, packets, interfaces } = *self;
        write!(
            f,
            "a snapshot holds at most {} places, {} interfaces and {} MiB: {} drops of {} places are told by reason or kind only, \
             and {} interfaces are left out",
            Grouped((MOST - KINDS) as u64),
            Grouped(SOME as u64),
            MAX_BYTES >> 20,
            Grouped(packets),
            Grouped(places as u64),
            Grouped(interfaces as u64)
        )
    }
}

/// Makes a document one that can be read: of the places beyond the bounds, those with the fewest drops, the drops are told by
/// reason, and the ledger of one source agrees. What are no packets is not told so, as it would be taken for packets then: that
/// stays, and what has no room even so is told by kind. None where all of it has room.
///
/// # Errors
/// As [`super::write()`] has them.
pub fn fit(snapshot: &mut Snapshot) -> io::Result<Option<LeftOut>> {
    fit_into(snapshot, Limits::OF_READERS)
}

pub(super) fn fit_into(snapshot: &mut Snapshot, limits: Limits) -> io::Result<Option<LeftOut>> {
    for refusal in &mut snapshot.unavailable {
        refusal.cause.truncate(refusal.cause.floor_char_boundary(REASON));
    }
    let interfaces = snapshot.interfaces.len().saturating_sub(limits.interfaces);
    snapshot.interfaces.truncate(limits.interfaces);
    let rows = std::mem::take(&mut snapshot.drops);
    let most = limits.bytes.saturating_sub(length(&*snapshot)?);
    let is_whole = fitting(&rows, limits.rows, most)? == rows.len();
    snapshot.drops = rows;
    let mut beyond = Vec::new();
    if !is_whole {
        snapshot.drops.sort_by_key(Row::is_packet);
        let kept = fitting(&snapshot.drops, limits.rows, most)?;
        beyond = snapshot.drops.split_off(kept);
    }
    let left_out = LeftOut { places: beyond.len(), packets: packets(&beyond), interfaces };
    let (by_reason, by_kind): (Vec<_>, Vec<_>) = beyond.into_iter().partition(Row::is_packet);
    let moved = packets(&by_reason);
    for row in by_reason {
        tell_by_reason(&mut snapshot.overflow, row);
    }
    let first = snapshot.drops.len();
    for row in by_kind {
        tell_by_kind(&mut snapshot.drops, first, row);
    }
    snapshot.drops.sort_by_key(|row| Reverse(row.packets));
    // Of two sources the same drops are in both accounts.
    if let [source] = &mut *snapshot.sources {
        source.ledger.accounted = source.ledger.accounted.saturating_sub(moved);
        source.ledger.overflow = source.ledger.overflow.saturating_add(moved);
    }
    Ok(Some(left_out).filter(|left_out| *left_out != LeftOut::default()))
}

/// How many of the first rows have room.
fn fitting(rows: &[Row], rows_at_most: usize, bytes_at_most: u64) -> io::Result<usize> {
    let mut bytes = 0;
    for (at, row) in rows.iter().enumerate() {
        bytes += length(row)? + 1;
        if at == rows_at_most || bytes > bytes_at_most {
            return Ok(at);
        }
    }
    Ok(rows.len())
}

fn packets(rows: &[Row]) -> u64 {
    rows.iter().fold(0, |sum, row| sum.saturating_add(row.packets))
}

fn tell_by_reason(overflow: &mut Vec<Overflow>, row: Row) {
    let Row { reason, subsystem, packets, bytes, .. } = row;
    let is_told = overflow.len() < REASONS || overflow.iter().any(|known| known.reason == reason);
    let (reason, subsystem) = if is_told { (reason, subsystem) } else { (None, None) };
    match overflow.iter_mut().find(|known| known.reason == reason && known.subsystem == subsystem) {
        Some(known) => {
            known.packets = known.packets.saturating_add(packets);
            known.bytes = known.bytes.zip(bytes).map(|(one, other)| one.saturating_add(other));
        }
        None => overflow.push(Overflow { reason, subsystem, packets, bytes }),
    }
}

/// Adds it to the row of its kind, which is among those from `first` on.
fn tell_by_kind(rows: &mut Vec<Row>, first: usize, row: Row) {
    let same = |known: &&mut Row| known.kind == row.kind && known.netlink == row.netlink;
    match rows[first..].iter_mut().find(same) {
        Some(known) => {
            known.packets = known.packets.saturating_add(row.packets);
            known.bytes = known.bytes.zip(row.bytes).map(|(one, other)| one.saturating_add(other));
            known.first_seen = known.first_seen.min(row.first_seen);
            known.last_seen = known.last_seen.max(row.last_seen);
        }
        None => rows.push(Row {
            reason: None,
            subsystem: None,
            symbol: None,
            offset: None,
            module: None,
            trap_group: None,
            protocol: None,
            interface: None,
            class: None,
            netns_name: None,
            own_netns: None,
            ..row
        }),
    }
}

fn length(document: &impl serde::Serialize) -> io::Result<u64> {
    struct Length(u64);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    to_json(&mut length, document)?;
    Ok(length.0)
}
