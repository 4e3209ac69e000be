//! Gives names to the numbers of the backends: drop reasons, drop sites, interfaces, namespaces, times.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tracer_common::{
    DropKey, KIND_COPY, KIND_EMPTY, KIND_NETLINK, KIND_TRAP, KIND_UNIX, KIND_XDP, KeyNames, SiteKey, TrapNames,
};

use crate::backend::ebpf::{Count, EbpfSource, NamespaceQuestion, Report, Totals, interface_name};
use crate::backend::net_dm::Key;
use crate::domain::event::{DropEvent, Kind, Location, NamedKey, Origin, Reason, Residence, Timestamp};
use crate::domain::owner::Process;
use crate::domain::report::HeldBack;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::identity::netns::{ByInode, Names, NetnsId};
use crate::identity::owners::{NamedOwner, Owners};
use crate::kernel::clock::Clock;
use crate::kernel::reasons::{ReasonNames, xdp};
use crate::kernel::symbols::Symbols;

mod attribution;
mod block;
mod flows;
mod hardware;
mod net_dm;
mod refused;
mod stack;

pub use block::BlockNames;
pub(crate) use net_dm::net_dm_event;

/// Largest number of aggregation keys in the cache; no kernel uses more at a time. Beyond it, the cache is emptied.
const MAX_KEYS: usize = 1 << 16;

/// A key with the names that were known after so many refreshes. The same names stay at the same address.
struct Known {
    named: Arc<NamedKey>,
    refreshes: u64,
}

/// The names of this kernel, each looked up once.
pub struct Normaliser {
    reasons: ReasonNames,
    symbols: Symbols,
    namespaces: Arc<Names>,
    /// Absent where owners are not asked for.
    owners: Option<Owners>,
    clock: Clock,
    /// Named keys by key and by the names that were known at the drop, because an interface may be renamed.
    named_keys: HashMap<(DropKey, KeyNames), Known, RandomState>,
    /// How often [`Normaliser::refresh`] was called.
    refreshes: u64,
    /// Identifies namespaces by cookies; absent where the kernel has none.
    question: Option<Arc<NamespaceQuestion>>,
    /// Named keys of the drop monitor, which has keys of its own.
    net_dm_keys: HashMap<Key, Arc<NamedKey>, RandomState>,
    /// Processes by the inode numbers of sockets in the totals by flow, whose number is bounded.
    processes: HashMap<u32, Arc<Process>, RandomState>,
}

impl Normaliser {
    /// Takes the kernel's names of drop reasons, and the names of namespaces that are known now and later. Namespaces
    /// in the kernel program's keys are cookies where there is a question for them, else inode numbers.
    pub fn new(
        reasons: ReasonNames,
        namespaces: Arc<Names>,
        question: Option<Arc<NamespaceQuestion>>,
        owners: Option<Owners>,
    ) -> Self {
        Self {
            reasons,
            symbols: Symbols::new(),
            namespaces,
            owners,
            clock: Clock::new(),
            named_keys: HashMap::default(),
            refreshes: 0,
            question,
            net_dm_keys: HashMap::default(),
            processes: HashMap::default(),
        }
    }

    /// Updates the offset to real time and the names of namespaces. The caller calls this function once an interval.
    pub(crate) fn refresh(&mut self) {
        self.clock.refresh();
        self.refreshes += 1;
    }

    /// Whether a name may be known later, or a second container may move in.
    fn may_change(&self, key: &NamedKey) -> bool {
        let names_residents = self.owners.as_ref().is_some_and(Owners::names_residents);
        let lacks_netns = key.netns_name.is_none() && key.netns != 0;
        let lacks_cgroup = key.owner.cgroup.is_none() && key.cgroup_id != 0;
        let lacks_symbol = key.location.symbol.is_none();
        lacks_netns || lacks_cgroup || lacks_symbol || (names_residents && key.socket.is_none() && key.netns != 0)
    }

    /// Looks up the names of owners that are new in these totals, while they exist. The caller calls this function once a
    /// second.
    pub(crate) fn learn_owners(&mut self, totals: &Totals) {
        if self.owners.is_some() {
            for (key, count) in &totals.counts {
                _ = self.owner(key, self.namespace(key, count.names));
            }
        }
    }

    /// Takes note of the sockets of these records, so that their processes are found.
    pub(crate) fn want_processes<'r>(&mut self, reports: impl Iterator<Item = &'r Report>) {
        if let Some(owners) = &mut self.owners {
            owners.want_processes(reports.filter_map(Report::socket_inode));
        }
    }

    /// Searches the processes of which note was taken. No records are read meanwhile, for up to 50 ms.
    pub(crate) fn search_processes(&mut self) {
        if let Some(owners) = &mut self.owners {
            owners.search_processes();
        }
    }

    /// The process that has the record's socket open.
    pub fn process(&mut self, report: &Report) -> Option<Arc<Process>> {
        self.owners.as_mut()?.process_of_socket(report.socket_inode()?)
    }

    /// Whether this kernel has the core reason with this name.
    pub fn has_reason(&mut self, name: &str) -> bool {
        self.reasons.by_name(name).value.is_some()
    }

    /// Why some owners are unknown, in words.
    pub(crate) fn limits_of_owners(&self) -> Vec<String> {
        self.owners.as_ref().map(Owners::limits).unwrap_or_default()
    }

    /// Whether the kernel hides its addresses from this process, so that drop sites have no symbols.
    pub(crate) fn hides_addresses(&self) -> bool {
        self.symbols.hidden().unwrap_or(true)
    }

    /// Totals by named key.
    pub fn totals(&mut self, totals: &Totals) -> Vec<DropTotal> {
        let mut all: Vec<DropTotal> = Vec::with_capacity(totals.counts.len());
        // A drop is a copy by its key or by its function, so two keys may belong to one named key.
        let mut copies = HashMap::<Arc<NamedKey>, usize>::new();
        for (key, count) in &totals.counts {
            let named = self.named_key(key, count.names, totals.trap(key));
            let total = self.total(Arc::clone(&named), count);
            let next = all.len();
            let at = if named.kind == Kind::Copy { *copies.entry(named).or_insert(next) } else { next };
            match all.get_mut(at) {
                Some(known) => known.add(&total),
                None => all.push(total),
            }
        }
        all
    }

    fn total(&self, named: Arc<NamedKey>, count: &Count) -> DropTotal {
        DropTotal {
            packets: count.packets,
            bytes: named.kind.has_length().then_some(count.bytes),
            key: named,
            first_seen: self.clock.real(count.first_ns),
            last_seen: self.clock.real(count.last_ns),
            seen_by: &[Origin::Ebpf],
            more: 0,
        }
    }

    /// Totals of the drops of which only the drop reason is known.
    pub fn overflow(&mut self, totals: &Totals) -> Vec<OverflowTotal> {
        let named = totals.overflow.iter().map(|(reason, count)| OverflowTotal {
            reason: reason.map(|reason| self.reasons.resolve(reason)),
            packets: count.packets,
            bytes: Some(count.bytes),
        });
        named.collect()
    }

    /// Drops that the sampler held back, by drop site. `source` has the names of devlink traps.
    pub(crate) fn held_back(&mut self, sites: Vec<(SiteKey, u64)>, source: &EbpfSource) -> Vec<HeldBack> {
        let named = sites.into_iter().map(|(site, records)| {
            let kind = u8::try_from(site.kind).unwrap_or_default();
            let key = DropKey { location: site.location, reason: site.reason, kind, ..DropKey::default() };
            let (reason, location) = self.reason_and_location(&key, source.trap(&key));
            HeldBack { reason, location, records }
        });
        named.collect()
    }

    /// Converts a report into an event. `named` comes from [`Normaliser::named_key`], `process` from
    /// [`Normaliser::process`], `stack` from [`Normaliser::stack`].
    pub fn event<'e>(
        &self,
        report: &Report,
        bytes: &'e [u8],
        named: &'e Arc<NamedKey>,
        process: Option<&'e Arc<Process>>,
        stack: &'e [Arc<Location>],
    ) -> DropEvent<'e> {
        DropEvent {
            timestamp: self.clock.real(report.header.timestamp_ns),
            key: named,
            seen_by: &[Origin::Ebpf],
            length: report.header.length,
            start: report.start,
            bytes,
            facts: report.facts(),
            process,
            stack,
        }
    }

    /// Resolves the names of the kernel program's numbers. `trap` has the names of the devlink trap that the key is of.
    pub fn named_key(&mut self, key: &DropKey, names: KeyNames, trap: Option<TrapNames>) -> Arc<NamedKey> {
        let known = self.named_keys.get(&(*key, names));
        if let Some(known) = known.filter(|it| it.refreshes == self.refreshes || !self.may_change(&it.named)) {
            return Arc::clone(&known.named);
        }
        let before = known.map(|known| Arc::clone(&known.named));
        if before.is_none() && self.named_keys.len() >= MAX_KEYS {
            self.named_keys.clear();
        }
        let latest = self.look_up(key, names, trap);
        let latest = before.filter(|before| **before == latest).unwrap_or_else(|| Arc::new(latest));
        let known = Known { named: Arc::clone(&latest), refreshes: self.refreshes };
        self.named_keys.insert((*key, names), known);
        latest
    }

    fn look_up(&mut self, key: &DropKey, names: KeyNames, trap: Option<TrapNames>) -> NamedKey {
        let (reason, location) = self.reason_and_location(key, trap);
        let namespace = self.namespace(key, names);
        let found = self.owner(key, namespace);
        let owner = found.as_ref().map(|(owner, _)| attribution::names(owner)).unwrap_or_default();
        NamedKey {
            kind: NamedKey::kind_of(kind(key.kind), key.ifindex, &location),
            reason,
            location,
            protocol: key.protocol,
            interface: interface_name(&names.interface).filter(|_| key.ifindex != 0).map(Arc::from),
            ifindex: key.ifindex,
            netns: names.netns_inum,
            netns_cookie: namespace.cookie.map_or(0, NonZeroU64::get),
            netns_name: if names.netns_inum == 0 { None } else { self.namespaces.name(namespace) },
            socket: attribution::role(key.socket),
            cgroup_id: attribution::known(key.cgroup_id),
            residence: found.and_then(|(_, residence)| residence),
            owner: owner.into(),
            flow: None,
        }
    }

    fn namespace(&self, key: &DropKey, names: KeyNames) -> NetnsId {
        let cookie = self.question.as_ref().and_then(|_| NonZeroU64::new(key.netns));
        NetnsId { cookie, inum: names.netns_inum }
    }

    /// The owner of the socket's control group; nothing is known of the root group, and of one that ended before it was
    /// looked up. Without a socket, the container or pod that lives in a namespace.
    fn owner(&mut self, key: &DropKey, namespace: NetnsId) -> Option<(NamedOwner, Option<Residence>)> {
        let owners = self.owners.as_mut()?;
        match (attribution::role(key.socket), attribution::known(key.cgroup_id), &self.question) {
            (Some(_), 0, _) => None,
            (Some(_), cgroup_id, _) => Some((owners.of_cgroup(cgroup_id)?.clone(), None)),
            (None, ..) if namespace.inum == 0 => None,
            (None, _, Some(question)) => attribution::resident(owners, namespace, key.ifindex, question),
            (None, _, None) => attribution::resident(owners, namespace, key.ifindex, &ByInode),
        }
    }

    /// The reason and the drop site of a drop that has no trap.
    pub(crate) fn reason_and_site(&mut self, key: &DropKey) -> (Arc<Reason>, Arc<Location>) {
        self.reason_and_location(key, None)
    }

    /// Real time of a time of the kernel's `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) fn real_time(&self, monotonic_ns: u64) -> Timestamp {
        self.clock.real(monotonic_ns)
    }

    fn reason_and_location(&mut self, key: &DropKey, trap: Option<TrapNames>) -> (Arc<Reason>, Arc<Location>) {
        match key.kind {
            KIND_TRAP => hardware::names(trap),
            KIND_XDP => xdp::names(key.reason),
            _ => (self.reasons.resolve(key.reason), self.symbols.resolve(key.location)),
        }
    }
}

fn kind(kind: u8) -> Kind {
    match kind {
        KIND_EMPTY => Kind::Empty,
        KIND_UNIX => Kind::Unix,
        KIND_COPY => Kind::Copy,
        KIND_NETLINK => Kind::Netlink,
        KIND_TRAP => Kind::Hardware,
        KIND_XDP => Kind::Xdp,
        _ => Kind::Packet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_where_it_is_while_its_names_do() {
        let mut normaliser = Normaliser::new(ReasonNames::without_types(), Arc::new(Names::new()), None, None);
        let key = DropKey { location: 1, reason: 6, ..DropKey::default() };
        let names = KeyNames { netns_inum: u32::MAX, ..KeyNames::default() };
        let first = normaliser.named_key(&key, names, None);
        assert!(normaliser.may_change(&first), "its namespace may get a name");
        normaliser.refresh();
        assert!(Arc::ptr_eq(&first, &normaliser.named_key(&key, names, None)));
        // What was known before is wrong now.
        let before =
            Known { named: Arc::new(NamedKey { netns_name: Some("x".into()), ..(*first).clone() }), refreshes: 0 };
        normaliser.named_keys.insert((key, names), before);
        assert_eq!(normaliser.named_key(&key, names, None), first);
    }
}
