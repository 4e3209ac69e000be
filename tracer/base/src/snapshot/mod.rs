//! The drops of a host over a time span, as one document that can be copied elsewhere and merged with those of other
//! hosts: `droptrace.snapshot.v1`. droptrace takes it, [`write()`] and [`read()`] store it, droptrace-fleet merges
//! many.

mod fit;
mod ledger;
mod list;
mod machine;
mod moment;
mod outside;
mod owner;
mod read;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use fit::{LeftOut, fit};
pub use machine::machine;
pub use outside::{Outside, OutsideCounter};
pub use owner::RowOwner;
pub use read::{ReadError, read, read_file};

use crate::domain::event::{Kind, Timestamp};
use crate::outside::to_json;

/// The name of the schema. Within a version it only grows.
pub const SCHEMA: &str = "droptrace.snapshot.v1";

/// The most rows that are read; hosts have some thousand.
const MOST: usize = 500_000;
/// The most interfaces, and rows of drops without an aggregation key.
const SOME: usize = 100_000;
/// The most backends, and unavailable backends.
const FEW: usize = 100;
/// The most bytes of a name. The kernel's functions have up to 511 (`KSYM_NAME_LEN`, `include/linux/kallsyms.h`),
/// network namespaces 255, as all names of files, and all other names are shorter.
const NAME: usize = 1024;
/// The most bytes of the text that says why a backend is not available.
const REASON: usize = 4096;
/// The most bytes of a filter.
const FILTER: usize = 65_536;
/// 2^53, which is also the float that 2^53 + 1 becomes: each smaller whole number has a float of its own.
pub const FIRST_ROUNDED: f64 = 9_007_199_254_740_992.0;

/// The drops of one host over a time span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The schema, [`SCHEMA`].
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub schema: String,
    /// Version of the droptrace that wrote it.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub version: String,
    /// Node name.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub host: String,
    /// An identifier that distinguishes machines with the same name, derived from the machine's id; `None` if the
    /// machine has none. The first snapshots do not have it.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub machine: Option<String>,
    /// Kernel release.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub kernel: String,
    /// The kernel's GNU build id in hexadecimal; `None` if the kernel does not show it.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub build_id: Option<String>,
    /// When counting started.
    #[serde(with = "moment")]
    pub started_at: Timestamp,
    /// Duration of the count, in nanoseconds.
    pub duration_ns: u64,
    /// The filter that selected the drops, as the user wrote it; `None` if all drops were counted. The first snapshots do not
    /// have it.
    #[serde(default, deserialize_with = "text::option::<FILTER, _>")]
    pub filter: Option<String>,
    /// Interfaces of the network namespace that droptrace ran in, as they were at the end.
    #[serde(deserialize_with = "list::bounded::<SOME, _, _>")]
    pub interfaces: Vec<Interface>,
    /// The capture backend that ran.
    pub backend: CaptureBackend,
    /// Backends of a better rank that are not available.
    #[serde(deserialize_with = "list::bounded::<FEW, _, _>")]
    pub unavailable: Vec<Unavailable>,
    /// The backends that counted, and their ledgers.
    #[serde(deserialize_with = "list::bounded::<FEW, _, _>")]
    pub sources: Vec<Source>,
    /// Drops by aggregation key.
    #[serde(deserialize_with = "list::bounded::<MOST, _, _>")]
    pub drops: Vec<Row>,
    /// Drops whose aggregation key found no room, by reason.
    #[serde(deserialize_with = "list::bounded::<SOME, _, _>")]
    pub overflow: Vec<Overflow>,
    /// Losses outside `kfree_skb`; `None` if the kernel's counters were not read. The first snapshots do not have it.
    #[serde(default)]
    pub outside: Option<Outside>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub name: String,
    /// Its kind: `physical`, `loopback`, `veth`, …
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub class: String,
    /// The driver, if the interface is a device on a bus.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub driver: Option<String>,
}

/// A capture backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureBackend {
    /// `ebpf`, `net_dm`, `counters` or `both`.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub source: String,
    /// The backend's mode: `tp_btf`, `packet`, …
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub mode: String,
}

/// A capture backend that is not available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// As in [`CaptureBackend`].
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub source: String,
    /// As in [`CaptureBackend`].
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub mode: String,
    /// The reason for which the backend is not available, as text.
    #[serde(deserialize_with = "text::bounded::<REASON, _>")]
    pub cause: String,
}

/// A backend and its ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `ebpf`, `net_dm` or `counters`.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub source: String,
    /// The backend's mode.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub mode: String,
    /// The backend's ledger.
    pub ledger: Ledger,
}

/// The ledger of a backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ledger {
    /// Drops counted by aggregation key.
    pub accounted: u64,
    /// Drops counted by reason only.
    pub overflow: u64,
    /// Drops that a filter excluded.
    pub filtered: u64,
    /// Drops in none of the counts; `None` if their number cannot be known.
    pub lost: Option<u64>,
    /// Further members of the backend's ledger, as in `droptrace.stat.v1`.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// Drops with one aggregation key. A field that is `None` is unknown, or the drops have no such property.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// Name of the reason.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub reason: Option<String>,
    /// The reason's subsystem.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub subsystem: Option<String>,
    /// Function that freed the packet.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub symbol: Option<String>,
    /// Bytes from the function's start. They are comparable only between hosts with the same `build_id`.
    pub offset: Option<u64>,
    /// Kernel module of the function.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub module: Option<String>,
    /// Group of the devlink trap that stopped the packet in hardware.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub trap_group: Option<String>,
    /// `ipv4`, `ipv6`, …
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub protocol: Option<String>,
    /// Name of the interface.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub interface: Option<String>,
    /// Kind of the interface, if it is one of [`Snapshot::interfaces`] or a loopback interface.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub class: Option<String>,
    /// Name of the network namespace.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub netns_name: Option<String>,
    /// Whether the drops happened in the network namespace that droptrace ran in.
    pub own_netns: Option<bool>,
    /// Whether the drops are messages to a netlink socket, and not packets of a network.
    pub netlink: bool,
    /// The kind of the freed buffers: a name of [`crate::domain::event::Kind`]. The first snapshots do not have it.
    #[serde(default = "packet", deserialize_with = "text::bounded::<NAME, _>")]
    pub kind: String,
    /// Whose packets were dropped; `None` unless the snapshot was taken with owners, and the backend reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<RowOwner>,
    /// Drops.
    pub packets: u64,
    /// Bytes of the drops; `None` if the backend does not report them.
    pub bytes: Option<u64>,
    /// Time of the first drop.
    #[serde(with = "moment")]
    pub first_seen: Timestamp,
    /// Time of the last drop.
    #[serde(with = "moment")]
    pub last_seen: Timestamp,
}

fn packet() -> String {
    Kind::Packet.name().into()
}

impl Row {
    /// Returns whether packets of a network were lost. Unknown kinds count as packets.
    pub fn is_packet(&self) -> bool {
        !self.netlink && Kind::of_name(&self.kind).is_none_or(Kind::is_packet)
    }

    /// Adds the drops of another row.
    fn add(&mut self, other: &Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.zip(other.bytes).map(|(one, other)| one.saturating_add(other));
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// Drops of one reason whose aggregation key found no room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overflow {
    /// Name of the reason; `None` if the reason was not counted apart.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub reason: Option<String>,
    /// The reason's subsystem.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub subsystem: Option<String>,
    /// Drops.
    pub packets: u64,
    /// Bytes of the drops; `None` if the backend does not report them.
    pub bytes: Option<u64>,
}

impl Snapshot {
    /// The difference between the rows and the ledger. Any other number than 0 means that the document was changed, or
    /// a fault of droptrace. `None` if two backends counted the same drops, so that there is no sum to compare.
    pub fn unaccounted(&self) -> Option<i128> {
        let [Source { ledger, .. }] = self.sources.as_slice() else { return None };
        let rows = self.drops.iter().map(|row| i128::from(row.packets));
        let rows = rows.chain(self.overflow.iter().map(|row| i128::from(row.packets)));
        Some(i128::from(ledger.accounted) + i128::from(ledger.overflow) - rows.sum::<i128>())
    }
}

/// Writes the document as one line, and flushes it.
pub fn write(mut out: impl Write, snapshot: &Snapshot) -> io::Result<()> {
    to_json(&mut out, snapshot)?;
    out.write_all(b"\n")?;
    out.flush()
}
