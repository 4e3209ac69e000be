//! Keeps a snapshot within the limits of its readers.

use std::cmp::Reverse;
use std::fmt;
use std::io::{self, Write};

use super::read::MAX_BYTES;
use super::{MOST, Overflow, REASON, Row, SOME, Snapshot};
use crate::outside::to_json;
use crate::render::number::Grouped;

/// Bytes kept free for the drops of rows that are left out, which are counted by reason.
const ROOM: u64 = 8 << 20;
/// Rows kept free for drops that are not packets, which are counted by kind: more than there are kinds.
const KINDS: usize = 16;
/// The number of reasons that left-out drops are counted by.
const REASONS: usize = 4096;

/// The limits of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    /// Interfaces, and counters outside `kfree_skb`.
    pub(super) interfaces: usize,
    pub(super) bytes: u64,
}

impl Limits {
    const OF_READERS: Self = Self { rows: MOST - KINDS, interfaces: SOME, bytes: MAX_BYTES - ROOM };
}

/// The drops and interfaces that did not fit a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Aggregation keys whose drops are counted by reason or kind only.
    pub keys: usize,
    /// Drops of these keys.
    pub packets: u64,
    /// Interfaces that are left out.
    pub interfaces: usize,
    /// Counters outside `kfree_skb` that are left out: those of which the smallest part is outside.
    pub counters: usize,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, packets, interfaces, counters } = *self;
        write!(
            f,
            "a snapshot holds at most {} aggregation keys, {} interfaces and {} MiB: {} drops of {} keys are counted by reason or kind only, \
             and {} interfaces and {} counters are left out",
            Grouped((MOST - KINDS) as u64),
            Grouped(SOME as u64),
            MAX_BYTES >> 20,
            Grouped(packets),
            Grouped(keys as u64),
            Grouped(interfaces as u64),
            Grouped(counters as u64)
        )
    }
}

/// Reduces a document to one that can be read. Beyond the limits, the aggregation keys with the fewest drops are left
/// out: their drops are counted by reason, and the ledger of a single backend is adjusted. Drops that are not packets
/// would be taken for packets there: their rows stay, and those that still do not fit are counted by kind. Returns
/// `None` if the whole document fits.
///
/// # Errors
/// Fails as [`super::write()`] does.
pub fn fit(snapshot: &mut Snapshot) -> io::Result<Option<LeftOut>> {
    fit_into(snapshot, Limits::OF_READERS)
}

pub(super) fn fit_into(snapshot: &mut Snapshot, limits: Limits) -> io::Result<Option<LeftOut>> {
    for refusal in &mut snapshot.unavailable {
        refusal.cause.truncate(refusal.cause.floor_char_boundary(REASON));
    }
    let interfaces = snapshot.interfaces.len().saturating_sub(limits.interfaces);
    snapshot.interfaces.truncate(limits.interfaces);
    let counters = snapshot.outside.as_mut().map_or(0, |outside| {
        let left_out = outside.counters.len().saturating_sub(limits.interfaces);
        outside.counters.truncate(limits.interfaces);
        left_out
    });
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
    let left_out = LeftOut { keys: beyond.len(), packets: packets(&beyond), interfaces, counters };
    let (by_reason, by_kind): (Vec<_>, Vec<_>) = beyond.into_iter().partition(Row::is_packet);
    let moved = packets(&by_reason);
    for row in by_reason {
        count_by_reason(&mut snapshot.overflow, row);
    }
    let first = snapshot.drops.len();
    for row in by_kind {
        count_by_kind(&mut snapshot.drops, first, row);
    }
    snapshot.drops.sort_by_key(|row| Reverse(row.packets));
    // With two backends, both ledgers contain the same drops.
    if let [source] = &mut *snapshot.sources {
        source.ledger.accounted = source.ledger.accounted.saturating_sub(moved);
        source.ledger.overflow = source.ledger.overflow.saturating_add(moved);
    }
    Ok(Some(left_out).filter(|left_out| *left_out != LeftOut::default()))
}

/// Returns how many of the first rows fit.
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

fn count_by_reason(overflow: &mut Vec<Overflow>, row: Row) {
    let Row { reason, subsystem, packets, bytes, .. } = row;
    let has_room = overflow.len() < REASONS || overflow.iter().any(|known| known.reason == reason);
    let (reason, subsystem) = if has_room { (reason, subsystem) } else { (None, None) };
    match overflow.iter_mut().find(|known| known.reason == reason && known.subsystem == subsystem) {
        Some(known) => {
            known.packets = known.packets.saturating_add(packets);
            known.bytes = known.bytes.zip(bytes).map(|(one, other)| one.saturating_add(other));
        }
        None => overflow.push(Overflow { reason, subsystem, packets, bytes }),
    }
}

/// Adds the drops to the row of their kind, which is among the rows from `first` on.
fn count_by_kind(rows: &mut Vec<Row>, first: usize, row: Row) {
    let same = |known: &&mut Row| known.kind == row.kind && known.netlink == row.netlink;
    match rows[first..].iter_mut().find(same) {
        Some(known) => known.add(&row),
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
            owner: None,
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
