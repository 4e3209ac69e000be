//! The data of a fleet over a time span. The readers of snapshots and engines fill it; the analysis only reads it.
//!
//! ```
//! use droptrace_fleet::model::{Fleet, Host, Key};
//!
//! let mut fleet = Fleet::default();
//! let host = fleet.host("lab-1");
//! *fleet.host_mut(host) = Host { kernel: Some("6.18.44".into()), seconds: 3600.0, ..Host::named("lab-1") };
//! let key = fleet.key(Key { reason: Some("SOCKET_RCVBUFF"), subsystem: Some("core"), ..Key::default() });
//! fleet.add(host, key, 1_000_u64);
//! assert_eq!(fleet.resolve(key).reason, Some("SOCKET_RCVBUFF"));
//! ```

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use droptrace_base::domain::event::Timestamp;

use super::names::{NameId, Names};
use super::number::Amount;

type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// The limits of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Hosts.
    pub hosts: usize,
    /// Aggregation keys of all hosts together.
    pub keys: usize,
    /// Counts, one for each host and aggregation key, and for each owner of their drops; and bursts.
    pub counts: usize,
    /// Bytes of names: of hosts, their properties, and aggregation keys.
    pub text: usize,
}

impl Bounds {
    /// A fleet of this size needs some gigabytes.
    pub const DEFAULT: Self = Self { hosts: 1_000_000, keys: 1_000_000, counts: 50_000_000, text: 256 << 20 };
}

/// The error of a fleet that has reached a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {bound} {what} already, and no more are kept")]
pub struct Full {
    /// The name of the limit.
    pub what: &'static str,
    /// The limit.
    pub bound: usize,
}

/// A host of a fleet: its index in [`Fleet::hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u32);

/// An aggregation key of a fleet, for [`Fleet::resolve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// The aggregation key of a fleet: properties that drops on different hosts can share. Names that each host gives by
/// itself (interfaces, namespaces) and offsets, which differ between builds of the kernel, are left out. A field that
/// is `None` is unknown, or the drops have no such property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key<'n> {
    /// Name of the reason.
    pub reason: Option<&'n str>,
    /// The reason's subsystem.
    pub subsystem: Option<&'n str>,
    /// Function that freed the packet.
    pub symbol: Option<&'n str>,
    /// Kernel module of the function.
    pub module: Option<&'n str>,
    /// Group of the devlink trap that stopped the packet in hardware.
    pub trap_group: Option<&'n str>,
    /// `ipv4`, `ipv6`, …
    pub protocol: Option<&'n str>,
    /// Kind of the interface.
    pub class: Option<&'n str>,
    /// Whether the drops are messages to netlink sockets, and not packets of a network.
    pub netlink: bool,
    /// Whether the drops are beyond an exporter's limit of series (its `other`): nothing else is known of them.
    pub other: bool,
}

/// A host and its properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The unique name of the host: the node name, with the machine if several hosts have that name, or the engine's
    /// name of the target.
    pub name: String,
    /// The node name of a host whose unique name contains the machine; `None` if the node name is unique.
    pub node: Option<String>,
    /// The identifier that distinguishes machines with the same name ([`droptrace_base::snapshot::machine`]).
    pub machine: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// The capture backend and its mode: `ebpf/tp_btf`, `net_dm/packet`, `counters/procfs`.
    pub backend: Option<String>,
    /// Further labels that hosts may be grouped by.
    pub labels: BTreeMap<String, String>,
    /// Time span for which the host's drops are known, in seconds; 0 if it reported nothing.
    pub seconds: f64,
    /// Drops in none of the counts; `None` if the number cannot be known.
    pub lost: Option<Amount>,
    /// Losses that certainly are outside `kfree_skb`, by the name of the kernel's counter; `None` if nothing reported the counters.
    pub outside: Option<BTreeMap<String, Amount>>,
    /// Number of snapshots or agents of the host whose rows and ledger do not agree.
    pub unbalanced: u64,
    /// Snapshots that were left out because they cover a time span that is already counted.
    pub duplicates: u64,
    /// Set if the host should have reported and did not.
    pub silence: Option<Silence>,
}

/// The silence of a host that should report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silence {
    /// Duration in seconds; `None` if it is unknown.
    pub seconds: Option<f64>,
    /// The evidence, as half a sentence: `its target is down`.
    pub why: String,
}

impl Host {
    /// A host without further properties, and without losses.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), lost: Some(Amount::default()), ..Self::default() }
    }

    /// Returns whether both may be one host: they have the same name, and are not known to be two machines. Hosts
    /// reported by older versions have no machine.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        let are_two = self.machine.as_ref().zip(other.machine.as_ref()).is_some_and(|(one, other)| one != other);
        self.node() == other.node() && !are_two
    }

    /// The node name, without the machine.
    pub(crate) fn node(&self) -> &str {
        self.node.as_deref().unwrap_or(&self.name)
    }

    /// Adds losses outside `kfree_skb`. A value that is not a count is ignored, and `false` is returned.
    pub(crate) fn add_outside(&mut self, counter: &str, packets: Amount) -> bool {
        let is_count = packets.float().is_finite() && packets.float() >= 0.0;
        if is_count {
            *self.outside.get_or_insert_default().entry(counter.to_owned()).or_default() += packets;
        }
        is_count
    }

    /// Bytes of the host's texts.
    fn bytes(&self) -> usize {
        let labels = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let known = [&self.node, &self.machine, &self.kernel, &self.backend].into_iter().flatten();
        let counters = self.outside.iter().flatten().map(|(counter, _)| counter);
        [&self.name].into_iter().chain(counters).chain(known).chain(labels).map(String::len).sum()
    }
}

/// Drops of a host with one aggregation key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// The host.
    pub host: HostId,
    /// The aggregation key.
    pub key: KeyId,
    /// Drops: exact from snapshots, extrapolated by engines.
    pub packets: Amount,
}

/// Drops of a host and an aggregation key that belong to one owner: a part of [`Fleet::counts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Owned<'n> {
    /// The host.
    pub host: HostId,
    /// The aggregation key.
    pub key: Key<'n>,
    /// The name of the pod, the container, the unit or the control group whose process made the packets' sockets.
    pub owner: &'n str,
    /// Drops.
    pub packets: Amount,
}

/// The most drops in a short time that are known of a host and an aggregation key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// The host.
    pub host: HostId,
    /// The aggregation key.
    pub key: KeyId,
    /// Drops per second within that time.
    pub rate: f64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Start of the burst.
    pub at: Option<Timestamp>,
}

/// A fleet over a time span.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The time span; `None` if it is unknown.
    pub time: Option<Range<Timestamp>>,
    /// The highest rates at keys that are quiet most of the time; only possible storms are needed (`--storm-rate`).
    pub bursts: Vec<Burst>,
    /// Freed buffers other than packets (copies, messages of Unix sockets, empty buffers); `None` if unknown.
    pub not_packets: Option<Amount>,
    /// The same fleet at an earlier time, to find new drops.
    pub baseline: Option<Box<Fleet>>,
    hosts: Vec<Host>,
    by_name: Map<String, HostId>,
    names: Names,
    keys: Vec<Interned>,
    by_key: Map<Interned, KeyId>,
    counts: Vec<Count>,
    /// The index in `counts` of each host and key.
    by_count: Map<(HostId, KeyId), u32>,
    owned: Map<(HostId, KeyId, NameId), Amount>,
    /// Bytes of the properties of hosts, apart from those of `names`.
    text: usize,
}

/// An aggregation key with interned names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Interned {
    names: [Option<NameId>; 7],
    netlink: bool,
    other: bool,
}

impl Fleet {
    /// Adds a host with this name, which another host may have, too, until the host gets a unique name
    /// ([`Self::rename`]).
    pub(crate) fn new_host(&mut self, name: &str) -> HostId {
        let id = HostId(index(self.hosts.len()));
        self.hosts.push(Host::named(name));
        self.text += name.len();
        id
    }

    /// Returns the host with this name, which is added if it does not exist.
    pub fn host(&mut self, name: &str) -> HostId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = self.new_host(name);
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// Returns whether there is room for more.
    ///
    /// # Errors
    /// Returns the limit that is reached.
    pub fn check(&self, bounds: Bounds) -> Result<(), Full> {
        let reached = [
            (self.hosts.len(), bounds.hosts, "hosts"),
            (self.keys.len(), bounds.keys, "aggregation keys"),
            (self.counts.len() + self.bursts.len() + self.owned.len(), bounds.counts, "counts"),
            (self.text + self.names.bytes(), bounds.text, "bytes of names"),
        ];
        let full = reached.into_iter().find(|(found, bound, _)| found >= bound);
        full.map_or(Ok(()), |(_, bound, what)| Err(Full { what, bound }))
    }

    /// Changes the properties of a host. Its name stays.
    pub fn change(&mut self, id: HostId, change: impl FnOnce(&mut Host)) {
        let host = &mut self.hosts[id.0 as usize];
        let before = host.bytes();
        change(host);
        self.text = (self.text + host.bytes()).saturating_sub(before);
    }

    /// Returns the properties of a host to change them. Its name stays.
    pub fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0 as usize]
    }

    /// Gives a host another name, which no host has yet.
    pub fn rename(&mut self, id: HostId, name: String) {
        let host = &mut self.hosts[id.0 as usize];
        if self.by_name.get(&host.name) == Some(&id) {
            self.by_name.remove(&host.name);
        }
        self.by_name.insert(name.clone(), id);
        host.name = name;
    }

    /// Returns the host with this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&Host> {
        self.by_name.get(name).map(|id| &self.hosts[id.0 as usize])
    }

    /// All hosts, by id.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Ids of all hosts, in the order of [`Self::hosts`].
    pub fn ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..index(self.hosts.len())).map(HostId)
    }

    /// Returns the id of an aggregation key. Equal keys have the same id.
    pub fn key(&mut self, key: Key<'_>) -> KeyId {
        let Key { reason, subsystem, symbol, module, trap_group, protocol, class, netlink, other } = key;
        let names = [reason, subsystem, symbol, module, trap_group, protocol, class];
        let key = Interned { names: names.map(|name| name.map(|name| self.names.intern(name))), netlink, other };
        *self.by_key.entry(key).or_insert_with(|| {
            self.keys.push(key);
            KeyId(index(self.keys.len() - 1))
        })
    }

    /// Returns the aggregation key with this id.
    pub fn resolve(&self, id: KeyId) -> Key<'_> {
        let Interned { names, netlink, other } = self.keys[id.0 as usize];
        let [reason, subsystem, symbol, module, trap_group, protocol, class] =
            names.map(|name| name.map(|name| self.names.resolve(name)));
        Key { reason, subsystem, symbol, module, trap_group, protocol, class, netlink, other }
    }

    /// All aggregation keys, by id.
    pub fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        (0..index(self.keys.len())).map(|id| self.resolve(KeyId(id)))
    }

    /// Adds drops of a host and an aggregation key. A value that is not a count (not a number, infinite, below 0) is
    /// ignored, and `false` is returned.
    pub fn add(&mut self, host: HostId, key: KeyId, packets: impl Into<Amount>) -> bool {
        let packets = packets.into();
        let is_count = packets.float().is_finite() && packets.float() >= 0.0;
        if is_count && packets.float() > 0.0 {
            match self.by_count.entry((host, key)) {
                Entry::Occupied(known) => self.counts[*known.get() as usize].packets += packets,
                Entry::Vacant(new) => {
                    new.insert(index(self.counts.len()));
                    self.counts.push(Count { host, key, packets });
                }
            }
        }
        is_count
    }

    /// Notes whose drops they were, which [`Fleet::add`] counts.
    pub(crate) fn add_owned(&mut self, host: HostId, key: KeyId, owner: &str, packets: impl Into<Amount>) {
        let owner = self.names.intern(owner);
        *self.owned.entry((host, key, owner)).or_default() += packets.into();
    }

    /// The drops whose owner is known, in any order.
    pub fn owned(&self) -> impl Iterator<Item = Owned<'_>> {
        self.owned.iter().map(|(&(host, key, owner), &packets)| {
            let (key, owner) = (self.resolve(key), self.names.resolve(owner));
            Owned { host, key, owner, packets }
        })
    }

    /// All drops: the sum of each host and aggregation key that has any.
    pub fn counts(&self) -> &[Count] {
        &self.counts
    }
}

/// No fleet, and no memory, has four thousand million entries of any kind.
fn index(length: usize) -> u32 {
    u32::try_from(length).expect("no fleet has so many")
}

#[cfg(test)]
mod tests;
