//! What a host dropped within a while, as one document that can be carried elsewhere and merged with those of other
//! hosts: `droptrace.snapshot.v1`. droptrace takes it, [`write()`] and [`read()`] carry it, droptrace-fleet adds many up.

mod fit;
mod ledger;
mod list;
mod machine;
mod moment;
mod read;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use fit::{LeftOut, fit};
pub use machine::machine;
pub use read::{ReadError, read, read_file};

use crate::domain::event::{Kind, Timestamp};
use crate::outside::to_json;

/// The name of the form. Within a version it only grows.
pub const SCHEMA: &str = "droptrace.snapshot.v1";

/// Rows that are read at most; hosts have some thousand.
const MOST: usize = 500_000;
/// Interfaces, and rows of drops without a place.
const SOME: usize = 100_000;
/// Sources, and unavailable.
const FEW: usize = 100;
/// Bytes of a name. The kernel's functions have up to 511 (`KSYM_NAME_LEN`, `include/linux/kallsyms.h`), network namespaces
/// 255, as all names of files, and all other names are shorter.
const NAME: usize = 1024;
/// Bytes of the words for why a backend is not available.
const REASON: usize = 4096;
/// 2^53, which is also what 2^53 + 1 becomes as a float: below this each whole number has a float of its own.
pub const FIRST_ROUNDED: f64 = 9_007_199_254_740_992.0;

/// One host, for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub schema: String,
    /// Version of the droptrace that wrote it.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub version: String,
    /// Node name.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub host: String,
    /// What tells machines of one name apart, made of the machine's id; none where it has none. The first snapshots do not
    /// have it.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub machine: Option<String>,
    /// Kernel release.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub kernel: String,
    /// The kernel's GNU build id in hexadecimal; none where it is not told.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub build_id: Option<String>,
    /// When counting started.
    #[serde(with = "moment")]
    pub started_at: Timestamp,
    /// How long it counted, in nanoseconds.
    pub duration_ns: u64,
    /// Interfaces of the network namespace that droptrace ran in, as they were at the end.
    #[serde(deserialize_with = "list::bounded::<SOME, _, _>")]
    pub interfaces: Vec<Interface>,
    /// The capture backend that was taken.
    pub backend: CaptureBackend,
    /// Better backends, and why they are not available.
    #[serde(deserialize_with = "list::bounded::<FEW, _, _>")]
    pub unavailable: Vec<Unavailable>,
    /// Who counted.
    #[serde(deserialize_with = "list::bounded::<FEW, _, _>")]
    pub sources: Vec<Source>,
    /// Drops by place.
    #[serde(deserialize_with = "list::bounded::<MOST, _, _>")]
    pub drops: Vec<Row>,
    /// Drops whose place found no room, by reason.
    #[serde(deserialize_with = "list::bounded::<SOME, _, _>")]
    pub overflow: Vec<Overflow>,
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
    /// The driver of a device on a bus.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub driver: Option<String>,
}

/// A capture backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureBackend {
    /// `ebpf`, `net_dm`, `counters` or `both`.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub source: String,
    /// `tp_btf`, `packet`, …
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub mode: String,
}

/// A capture backend that did not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// As of [`CaptureBackend`].
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub source: String,
    /// As of [`CaptureBackend`].
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub mode: String,
    /// Why, in words.
    #[serde(deserialize_with = "text::bounded::<REASON, _>")]
    pub cause: String,
}

/// A source and its account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `ebpf`, `net_dm` or `counters`.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub source: String,
    /// How it listened.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub mode: String,
    /// Its account.
    pub ledger: Ledger,
}

/// The account of a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ledger {
    /// Drops counted by place.
    pub accounted: u64,
    /// Drops counted by reason only.
    pub overflow: u64,
    /// Drops that a filter left out.
    pub filtered: u64,
    /// Drops in none of the counts; none: cannot be known.
    pub lost: Option<u64>,
    /// What this source tells beyond that, as in `droptrace.stat.v1`.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// Drops of one place. What is none is not known, or there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the reason.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub reason: Option<String>,
    /// Subsystem that the reason is of.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub subsystem: Option<String>,
    /// Function that freed the packet.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub symbol: Option<String>,
    /// Bytes from the function's start: the same only on hosts with the same `build_id`.
    pub offset: Option<u64>,
    /// Kernel module of the function.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub module: Option<String>,
    /// Group of the trap that stopped the packet in hardware.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub trap_group: Option<String>,
    /// `ipv4`, `ipv6`, …
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub protocol: Option<String>,
    /// Name of the interface.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub interface: Option<String>,
    /// Kind of the interface, where it is one of [`Snapshot::interfaces`], or a loopback.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub class: Option<String>,
    /// Name of the network namespace.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub netns_name: Option<String>,
    /// It happened in the network namespace that droptrace ran in.
    pub own_netns: Option<bool>,
    /// Messages to a netlink listener, and no packets of a network.
    pub netlink: bool,
    /// What was freed: a name of [`crate::domain::event::Kind`]. The first snapshots do not have it.
    #[serde(default = "packet", deserialize_with = "text::bounded::<NAME, _>")]
    pub kind: String,
    /// Drops.
    pub packets: u64,
    /// Bytes of them; none where the source does not tell.
    pub bytes: Option<u64>,
    /// First drop.
    #[serde(with = "moment")]
    pub first_seen: Timestamp,
    /// Last drop.
    #[serde(with = "moment")]
    pub last_seen: Timestamp,
}

fn packet() -> String {
    Kind::Packet.name().into()
}

impl Row {
    /// Whether something of a network was lost. Kinds that are not known yet are taken for it.
    pub fn is_packet(&self) -> bool {
        !self.netlink && Kind::of_name(&self.kind).is_none_or(Kind::is_packet)
    }
}

/// Drops of one reason whose place found no room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overflow {
    /// Name of the reason; none where it is not told apart.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub reason: Option<String>,
    /// Subsystem that the reason is of.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub subsystem: Option<String>,
    /// Drops.
    pub packets: u64,
    /// Bytes of them; none where the source does not tell.
    pub bytes: Option<u64>,
}

impl Snapshot {
    /// By what the rows differ from the ledger: 0, or it was changed, or droptrace erred. None where two sources
    /// counted the same drops, so that no sum can be told.
    pub fn unaccounted(&self) -> Option<i128> {
        let [Source { ledger, .. }] = self.sources.as_slice() else { return None };
        let rows = self.drops.iter().map(|row| i128::from(row.packets));
        let rows = rows.chain(self.overflow.iter().map(|row| i128::from(row.packets)));
        Some(i128::from(ledger.accounted) + i128::from(ledger.overflow) - rows.sum::<i128>())
    }
}

/// Writes it as one line, and hands all of it to the system.
pub fn write(mut out: impl Write, snapshot: &Snapshot) -> io::Result<()> {
    to_json(&mut out, snapshot)?;
    out.write_all(b"\n")?;
    out.flush()
}
