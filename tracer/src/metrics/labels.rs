//! The labels of drops, and the keys by which they are counted.

use std::sync::Arc;

use super::label_set::{LabelSet, Labels};
use crate::dimension::Elsewhere;
use crate::domain::attribution::Attribution;
use crate::domain::event::{NamedKey, Reason};
use crate::domain::identity::Identity;
use crate::domain::reconciliation::ReconciledCounter;
use crate::identity::devices::{self, Device};

/// The names of the labels of counters outside `kfree_skb`.
pub(super) const OUTSIDE: [&str; 3] = ["counter", "interface_class", "netns"];

/// A key by which a backend counts, without names that may change while it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum CountKey {
    /// Drops of a known aggregation key.
    Known(Identity),
    /// Drops that are counted by reason only.
    Overflow(Option<Arc<Reason>>),
}

/// The network namespace that this process is in, and what it knows of the devices there.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Inode number; 0 when not known.
    pub(super) netns: u32,
    /// The names of the labels.
    pub(super) label_set: LabelSet,
    /// Whether the capture backend reports owners.
    pub(super) knows_owners: bool,
    devices: Vec<Device>,
}

impl Surroundings {
    pub(super) const fn new(netns: u32, label_set: LabelSet) -> Self {
        Self { netns, label_set, knows_owners: false, devices: vec![] }
    }

    /// Values for the labels of a key. The devices are read again where one is unknown.
    pub(super) fn labels(&mut self, key: &NamedKey) -> Labels {
        let class = self.class(key);
        let is_own_netns = (key.netns != 0 && self.netns != 0).then_some(key.netns == self.netns);
        let elsewhere = Elsewhere { key, class: class.as_deref(), is_own_netns };
        self.label_set.values(&elsewhere, self.owner(Attribution::of(key)))
    }

    /// Values for the labels of drops that are counted by reason only.
    pub(super) fn overflow_labels(&self, reason: Option<&Arc<Reason>>) -> Labels {
        let mut key = NamedKey::default();
        if let Some(reason) = reason {
            key.reason = Arc::clone(reason);
        }
        let elsewhere = Elsewhere { key: &key, class: None, is_own_netns: None };
        self.label_set.values(&elsewhere, self.owner(Attribution::NoRoom))
    }

    /// Values of [`OUTSIDE`] for a counter.
    pub(super) fn outside_labels(&mut self, counter: &ReconciledCounter) -> Labels {
        let (interface, ifindex) = counter.interface.as_ref().map_or((None, 0), |it| (it.name.clone(), it.ifindex));
        let (netns, netns_name) = (counter.netns, counter.netns_name.clone());
        let key = NamedKey { interface, ifindex, netns, netns_name, ..NamedKey::default() };
        let values = self.labels(&key);
        let [_, class, netns] = OUTSIDE.map(|name| Arc::from(self.label_set.value(&values, name)));
        [Arc::clone(&counter.name), class, netns].into()
    }

    const fn owner(&self, attribution: Attribution) -> &'static str {
        if self.knows_owners { attribution.name() } else { "" }
    }

    fn class(&mut self, key: &NamedKey) -> Option<String> {
        let name = key.interface.as_deref()?;
        let is_own = key.netns != 0 && key.netns == self.netns;
        let known = devices::class_of(&self.devices, name, key.ifindex, is_own);
        if known.is_some() || !is_own {
            return known;
        }
        self.devices = devices::of_this_namespace();
        devices::class_of(&self.devices, name, key.ifindex, is_own)
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::REASON_ABSENT;

    use super::*;
    use crate::dimension::Dimensions;
    use crate::domain::event::{Location, Symbol};
    use crate::domain::facts::Role;
    use crate::domain::owner::Owner;

    fn key() -> NamedKey {
        let symbol = Symbol { name: "udp_rcv".into(), offset: 0x1a7, module: Some("ipv4".into()) };
        NamedKey {
            reason: Reason { value: Some(5), subsystem: "core".into(), name: "NO_SOCKET".into() }.into(),
            location: Location { address: 4711, symbol: Some(symbol), trap_group: None }.into(),
            protocol: 0x0800,
            interface: Some("lo".into()),
            ifindex: 1,
            netns: 7,
            netns_name: Some("blue".into()),
            ..NamedKey::default()
        }
    }

    fn texts(labels: &Labels) -> Vec<String> {
        labels.iter().map(ToString::to_string).collect()
    }

    fn surroundings(has_offsets: bool) -> Surroundings {
        Surroundings::new(8, LabelSet::new(has_offsets, None))
    }

    fn labels(key: &NamedKey) -> Vec<String> {
        texts(&surroundings(true).labels(key))
    }

    #[test]
    fn sites_have_no_addresses_and_numbers() {
        let expected = ["NO_SOCKET", "core", "udp_rcv", "0x1a7", "ipv4", "loopback", "ipv4", "blue", "often"];
        assert_eq!(labels(&key()), expected);
    }

    #[test]
    fn offsets_are_shown_on_request() {
        let reported = texts(&surroundings(false).labels(&key()));
        assert_eq!(reported, ["NO_SOCKET", "core", "udp_rcv", "ipv4", "loopback", "ipv4", "blue", "often"]);
    }

    /// The labels of owners.
    fn owners(key: &NamedKey, knows_owners: bool) -> Vec<String> {
        let chosen = Dimensions::owners("pod,container").unwrap();
        let mut surroundings = Surroundings::new(8, LabelSet::new(false, Some(&chosen)));
        surroundings.knows_owners = knows_owners;
        let names: Vec<_> = surroundings.label_set.names().skip(7).collect();
        assert_eq!(names, ["namespace", "pod", "container", "usual", "owner"]);
        texts(&surroundings.labels(key))[7..].to_vec()
    }

    #[test]
    fn no_socket_and_an_unknown_owner_differ() {
        let owner = Owner { cgroup: Some("/a".into()), pod: Some("shop/web".into()), ..Owner::default() };
        let of = |socket, owner: Owner| owners(&NamedKey { socket, owner: owner.into(), ..key() }, true);
        let receiver = Some(Role::Receiver);
        assert_eq!(of(receiver, owner.clone()), ["shop", "web", "", "often", "attributed"]);
        assert_eq!(of(receiver, Owner { pod: None, ..owner }), ["", "", "", "often", "attributed"]);
        assert_eq!(of(receiver, Owner::default()), ["", "", "", "often", "unknown"]);
        assert_eq!(of(None, Owner::default()), ["", "", "", "often", "no_socket"]);
    }

    #[test]
    fn backend_without_owners_invents_none() {
        assert_eq!(owners(&key(), false), ["", "", "", "often", ""]);
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let reason = Reason { value: Some(REASON_ABSENT), subsystem: "?".into(), name: "?".into() };
        let location = Location { address: 4711, symbol: None, trap_group: None };
        let unknown = NamedKey { reason: reason.into(), location: location.into(), ..NamedKey::default() };
        assert_eq!(labels(&unknown), [""; 9]);
        assert_eq!(texts(&surroundings(true).overflow_labels(None)), [""; 9]);
    }

    #[test]
    fn namespaces_are_own_or_have_a_name_or_a_number() {
        let of = |netns, name: Option<&str>| {
            labels(&NamedKey { netns, netns_name: name.map(Arc::from), ..key() })[7].clone()
        };
        assert_eq!([of(8, None), of(8, Some("red")), of(7, None), of(7, Some("red"))], ["own", "own", "7", "red"]);
    }

    #[test]
    fn a_new_name_is_no_new_site() {
        let renamed = NamedKey { interface: Some("wan".into()), netns_name: None, ..key() };
        assert_eq!(Identity::from(&key()), Identity::from(&renamed));
        let without_index =
            |name: &str| Identity::from(&NamedKey { interface: Some(name.into()), ifindex: 0, ..key() });
        assert_ne!(without_index("eth0"), without_index("eth1"));
    }

    #[test]
    fn messages_to_listeners_are_no_packets() {
        let symbol = Symbol { name: "netlink_broadcast_filtered".into(), offset: 1, module: None };
        let location = Location { address: 1, symbol: Some(symbol), trap_group: None };
        let kind = crate::domain::event::Kind::Netlink;
        let reported = labels(&NamedKey { kind, location: location.into(), interface: None, ifindex: 0, ..key() });
        assert_eq!((&*reported[5], &*reported[6]), ("", "netlink"));
    }
}
