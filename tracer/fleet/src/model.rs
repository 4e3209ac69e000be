//! What is known of a fleet over a while. Who reads snapshots or asks an engine fills it; analysis only reads it.
//!
//! ```
//! use droptrace_fleet::model::{Fleet, Host, Place};
//!
//! let mut fleet = Fleet::default();
//! let host = fleet.host("lab-1");
//! *fleet.host_mut(host) = Host { kernel: Some("6.18.44".into()), seconds: 3600.0, ..Host::named("lab-1") };
//! let place = fleet.place(Place { reason: Some("SOCKET_RCVBUFF"), subsystem: Some("core"), ..Place::default() });
//! fleet.add(host, place, 1_000_u64);
//! assert_eq!(fleet.resolve(place).reason, Some("SOCKET_RCVBUFF"));
//! ```

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use droptrace_base::domain::event::Timestamp;

use super::names::{NameId, Names};
use super::number::Amount;

type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// So much is kept of a fleet at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Hosts.
    pub hosts: usize,
    /// Places, of all hosts together.
    pub places: usize,
    /// Counts, one of each host and place, and bursts.
    pub counts: usize,
    /// Bytes of names: of hosts, what they tell of themselves, and of places.
    pub text: usize,
}

impl Bounds {
    /// A fleet of these needs some gigabytes.
    pub const DEFAULT: Self = Self { hosts: 1_000_000, places: 1_000_000, counts: 50_000_000, text: 256 << 20 };
}

/// A fleet that takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {bound} {what} already, and no more are kept")]
pub struct Full {
    /// What there is no room for.
    pub what: &'static str,
    /// How many there may be.
    pub bound: usize,
}

/// A host of a fleet: its place in [`Fleet::hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u32);

/// A place of a fleet: what [`Fleet::resolve`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub u32);

/// What places of different hosts have in common. Names that each host gives by itself (interfaces, namespaces) and what
/// differs between builds of the kernel (offsets) are left out. None: not known, or there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place<'n> {
    /// Name of the reason.
    pub reason: Option<&'n str>,
    /// Subsystem that the reason is of.
    pub subsystem: Option<&'n str>,
    /// Function that freed the packet.
    pub symbol: Option<&'n str>,
    /// Kernel module of the function.
    pub module: Option<&'n str>,
    /// Group of the trap that stopped the packet in hardware.
    pub trap_group: Option<&'n str>,
    /// `ipv4`, `ipv6`, …
    pub protocol: Option<&'n str>,
    /// Kind of the interface.
    pub class: Option<&'n str>,
    /// Messages to a netlink listener, and no packets of a network.
    pub netlink: bool,
    /// Drops beyond an exporter's bound on series (its `other`): nothing else is known of them.
    pub other: bool,
}

/// A host and what it tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// What hosts are told apart by: the node name, with the machine where several have that name, or what an engine calls
    /// its target.
    pub name: String,
    /// The node name of a host that is told apart by its machine too; none: by its name alone.
    pub node: Option<String>,
    /// What tells machines of one name apart ([`droptrace_base::snapshot::machine`]).
    pub machine: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Who counts and how: `ebpf/tp_btf`, `net_dm/packet`, `counters/procfs`.
    pub backend: Option<String>,
    /// What else hosts may be grouped by.
    pub labels: BTreeMap<String, String>,
    /// For how long its drops are known; 0 where it told nothing.
    pub seconds: f64,
    /// Drops in none of the counts; none: the number cannot be known.
    pub lost: Option<Amount>,
    /// What it told contradicts itself so many times: rows and ledger do not agree.
    pub unbalanced: u64,
    /// Snapshots that were left out because they cover a time that is counted already.
    pub duplicates: u64,
    /// It should have told something and did not.
    pub silence: Option<Silence>,
}

/// A host that should tell and does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silence {
    /// For how many seconds; none: not known.
    pub seconds: Option<f64>,
    /// What shows it, as half a sentence: `its target is down`.
    pub why: String,
}

impl Host {
    /// A host of which nothing else is known, and of which nothing was lost.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), lost: Some(Amount::default()), ..Self::default() }
    }

    /// Whether both may be one host: of one name, and not known to be two machines. Hosts that older versions told of have
    /// no machine.
    pub fn may_be(&self, other: &Self) -> bool {
        let are_two = self.machine.as_ref().zip(other.machine.as_ref()).is_some_and(|(one, other)| one != other);
        self.node() == other.node() && !are_two
    }

    /// Its name, whatever its machine.
    pub fn node(&self) -> &str {
        self.node.as_deref().unwrap_or(&self.name)
    }

    /// Bytes of its texts.
    fn bytes(&self) -> usize {
        let labels = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let known = [&self.node, &self.machine, &self.kernel, &self.backend].into_iter().flatten();
        [&self.name].into_iter().chain(known).chain(labels).map(String::len).sum()
    }
}

/// Drops of a host at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// The host.
    pub host: HostId,
    /// The place.
    pub place: PlaceId,
    /// Drops: exact from snapshots, extrapolated by engines.
    pub packets: Amount,
}

/// The most drops in a short while that are known of a host at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// The host.
    pub host: HostId,
    /// The place.
    pub place: PlaceId,
    /// Drops a second within that while.
    pub rate: f64,
    /// How long it was.
    pub seconds: f64,
    /// When it began.
    pub at: Option<Timestamp>,
}

/// A fleet over a while.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The time that is told of; none where nothing is known of it.
    pub time: Option<Range<Timestamp>>,
    /// Where it is quiet most of the time, the highest rates. Only those need be here that may be storms
    /// (`--storm-rate`).
    pub bursts: Vec<Burst>,
    /// What was freed beside packets: copies of packets that went on, messages of Unix sockets, empty buffers; none: not known.
    pub not_packets: Option<Amount>,
    /// The same fleet at an earlier time, to tell what is new.
    pub baseline: Option<Box<Fleet>>,
    hosts: Vec<Host>,
    by_name: Map<String, HostId>,
    names: Names,
    places: Vec<Key>,
    by_key: Map<Key, PlaceId>,
    counts: Vec<Count>,
    /// Where the drops of a host at a place are in `counts`.
    by_count: Map<(HostId, PlaceId), u32>,
    /// Bytes of what hosts tell of themselves, beside those of `names`.
    text: usize,
}

/// A place with its names interned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    names: [Option<NameId>; 7],
    netlink: bool,
    other: bool,
}

impl Fleet {
    /// A new host of this name, whoever else has it, until it has one of its own ([`Self::rename`]).
    pub fn new_host(&mut self, name: &str) -> HostId {
        let id = HostId(index(self.hosts.len()));
        self.hosts.push(Host::named(name));
        self.text += name.len();
        id
    }

    /// The host of this name, which is new where there is none yet.
    pub fn host(&mut self, name: &str) -> HostId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = self.new_host(name);
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// Whether there is room for more.
    ///
    /// # Errors
    /// What there is no room for.
    pub fn check(&self, bounds: Bounds) -> Result<(), Full> {
        let reached = [
            (self.hosts.len(), bounds.hosts, "hosts"),
            (self.places.len(), bounds.places, "places"),
            (self.counts.len() + self.bursts.len(), bounds.counts, "counts"),
            (self.text + self.names.bytes(), bounds.text, "bytes of names"),
        ];
        let full = reached.into_iter().find(|(found, bound, _)| found >= bound);
        full.map_or(Ok(()), |(_, bound, what)| Err(Full { what, bound }))
    }

    /// Changes what is known of a host. Its name stays.
    pub fn tell(&mut self, id: HostId, tell: impl FnOnce(&mut Host)) {
        let host = &mut self.hosts[id.0 as usize];
        let before = host.bytes();
        tell(host);
        self.text = (self.text + host.bytes()).saturating_sub(before);
    }

    /// To tell what is known of a host. Its name stays.
    pub fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0 as usize]
    }

    /// Gives a host another name, which none has yet.
    pub fn rename(&mut self, id: HostId, name: String) {
        let host = &mut self.hosts[id.0 as usize];
        if self.by_name.get(&host.name) == Some(&id) {
            self.by_name.remove(&host.name);
        }
        self.by_name.insert(name.clone(), id);
        host.name = name;
    }

    /// The host of this name, if there is one.
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

    /// The id of a place, which is the same for the same place.
    pub fn place(&mut self, place: Place<'_>) -> PlaceId {
        let Place { reason, subsystem, symbol, module, trap_group, protocol, class, netlink, other } = place;
        let names = [reason, subsystem, symbol, module, trap_group, protocol, class];
        let key = Key { names: names.map(|name| name.map(|name| self.names.intern(name))), netlink, other };
        *self.by_key.entry(key).or_insert_with(|| {
            self.places.push(key);
            PlaceId(index(self.places.len() - 1))
        })
    }

    /// The place of an id.
    pub fn resolve(&self, id: PlaceId) -> Place<'_> {
        let Key { names, netlink, other } = self.places[id.0 as usize];
        let [reason, subsystem, symbol, module, trap_group, protocol, class] =
            names.map(|name| name.map(|name| self.names.resolve(name)));
        Place { reason, subsystem, symbol, module, trap_group, protocol, class, netlink, other }
    }

    /// All places, by id.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        (0..index(self.places.len())).map(|id| self.resolve(PlaceId(id)))
    }

    /// Adds drops of a host at a place. What is no count (not a number, infinite, below 0) is nothing, and refused.
    pub fn add(&mut self, host: HostId, place: PlaceId, packets: impl Into<Amount>) -> bool {
        let packets = packets.into();
        let is_count = packets.float().is_finite() && packets.float() >= 0.0;
        if is_count && packets.float() > 0.0 {
            match self.by_count.entry((host, place)) {
                Entry::Occupied(known) => self.counts[*known.get() as usize].packets += packets,
                Entry::Vacant(new) => {
                    new.insert(index(self.counts.len()));
                    self.counts.push(Count { host, place, packets });
                }
            }
        }
        is_count
    }

    /// All drops: the sum of each host and place where there are any.
    pub fn counts(&self) -> &[Count] {
        &self.counts
    }
}

/// Four thousand million of anything are beyond all fleets, and beyond memory.
fn index(length: usize) -> u32 {
    u32::try_from(length).expect("no fleet has so many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_however_often_it_is_named() {
        let mut fleet = Fleet::default();
        let place = Place { reason: Some("a"), symbol: Some("b"), class: Some("a"), netlink: true, ..Place::default() };
        let id = fleet.place(place);
        assert_eq!(fleet.resolve(id), place);
        // The same names elsewhere are another place.
        let others = [
            Place { reason: Some("b"), symbol: Some("a"), ..place },
            Place { netlink: false, ..place },
            Place { other: true, ..place },
            Place { class: None, ..place },
        ];
        for other in others {
            assert_ne!(fleet.place(other), id, "{other:?}");
        }
        assert_eq!((fleet.place(place), fleet.places().count()), (id, 5));
    }

    #[test]
    fn hosts_are_known_by_name() {
        let mut fleet = Fleet::default();
        let (one, other) = (fleet.host("a"), fleet.host("b"));
        assert_eq!((fleet.host("a"), fleet.host("b")), (one, other));
        fleet.host_mut(other).seconds = 3.0;
        assert_eq!(fleet.find("b"), Some(&Host { seconds: 3.0, ..Host::named("b") }));
        assert_eq!((fleet.find("c"), fleet.ids().collect::<Vec<_>>()), (None, vec![one, other]));
    }

    #[test]
    fn a_fleet_is_full_at_each_of_its_bounds() {
        let mut fleet = Fleet::default();
        let (host, place) = (fleet.host("abc"), fleet.place(Place { reason: Some("de"), ..Place::default() }));
        fleet.add(host, place, 1_u64);
        fleet.tell(host, |host| host.kernel = Some("longer".into()));
        fleet.tell(host, |host| host.kernel = Some("fg".into()));
        let room = Bounds { hosts: 2, places: 2, counts: 2, text: 8 };
        assert_eq!(fleet.check(room), Ok(()));
        let full = |bounds, bound, what| assert_eq!(fleet.check(bounds), Err(Full { what, bound }));
        full(Bounds { hosts: 1, ..room }, 1, "hosts");
        full(Bounds { places: 1, ..room }, 1, "places");
        full(Bounds { counts: 1, ..room }, 1, "counts");
        full(Bounds { text: 7, ..room }, 7, "bytes of names");
    }

    #[test]
    fn what_is_kept_grows_with_hosts_and_places_only() {
        // A thousand of it are beyond what floats tell exactly.
        const LARGE: u64 = (1 << 53) / 1000 + 7;
        let mut fleet = Fleet::default();
        let (host, place) = (fleet.host("a"), fleet.place(Place::default()));
        (0..1000).for_each(|_| assert!(fleet.add(host, place, LARGE)));
        assert_eq!(fleet.counts(), [Count { host, place, packets: Amount::Whole(1000 * LARGE) }]);
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let mut fleet = Fleet::default();
        let (host, place) = (fleet.host("a"), fleet.place(Place::default()));
        for packets in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(!fleet.add(host, place, packets));
        }
        assert!(fleet.add(host, place, 0.0) && fleet.add(host, place, 2.0));
        assert_eq!(fleet.counts(), [Count { host, place, packets: 2.0.into() }]);
    }
}
