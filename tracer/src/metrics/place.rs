//! How a place of drops is told in labels, and what it is told apart by while it counts.

use std::sync::Arc;

use super::series::{Labels, OWN};
use crate::domain::event::reason_name;
use crate::domain::event::{Place, Reason};
use crate::identity::devices::{self, Device};
use crate::outside::printable;
use crate::packet::ProtocolName;

/// What a source counts by, without names that may change while it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Spot {
    /// A place.
    Place {
        reason: Arc<Reason>,
        address: u64,
        trap_group: Option<Arc<str>>,
        protocol: u16,
        ifindex: u32,
        /// Cookie, and inode number.
        netns: (u64, u32),
        /// Where only the name tells interfaces apart.
        interface: Option<Arc<str>>,
    },
    /// All places of a reason that found no room.
    Overflow(Option<Arc<Reason>>),
}

impl From<&Place> for Spot {
    fn from(place: &Place) -> Self {
        Self::Place {
            reason: Arc::clone(&place.reason),
            address: place.location.address,
            trap_group: place.location.trap_group.clone(),
            protocol: place.protocol,
            ifindex: place.ifindex,
            netns: (place.netns_cookie, place.netns),
            interface: place.interface.clone().filter(|_| place.ifindex == 0),
        }
    }
}

/// The network namespace that this process is in, and what it knows of the devices there.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Inode number; 0 when not known.
    pub(super) netns: u32,
    /// Whether labels tell how far from the function's start a place is.
    pub(super) has_offsets: bool,
    devices: Vec<Device>,
}

impl Surroundings {
    pub(super) const fn new(netns: u32, has_offsets: bool) -> Self {
        Self { netns, has_offsets, devices: vec![] }
    }

    /// Values for the labels of a place. Devices are looked up anew where one is not known yet.
    pub(super) fn labels(&mut self, place: &Place) -> Labels {
        let [reason, subsystem] = of_reason(Some(&place.reason));
        let symbol = place.location.symbol.as_ref();
        [
            reason,
            subsystem,
            symbol.map_or_else(nothing, |symbol| Arc::clone(&symbol.name)),
            symbol.filter(|_| self.has_offsets).map_or_else(nothing, |symbol| format!("{:#x}", symbol.offset).into()),
            symbol.and_then(|symbol| symbol.module.clone()).unwrap_or_else(nothing),
            self.class(place).map_or_else(nothing, Into::into),
            self.namespace(place),
            protocol(place),
        ]
    }

    fn class(&mut self, place: &Place) -> Option<String> {
        let name = place.interface.as_deref()?;
        let is_own = place.netns != 0 && place.netns == self.netns;
        let known = devices::class_of(&self.devices, name, place.ifindex, is_own);
        if known.is_some() || !is_own {
            return known;
        }
        self.devices = devices::of_this_namespace();
        devices::class_of(&self.devices, name, place.ifindex, is_own)
    }

    fn namespace(&self, place: &Place) -> Arc<str> {
        match place {
            Place { netns: 0, .. } => nothing(),
            Place { netns, .. } if *netns == self.netns => OWN.into(),
            Place { netns_name: Some(name), .. } => printable(name).into(),
            _ => "unnamed".into(),
        }
    }
}

/// Values for the labels of drops that only the reason is known of.
pub(super) fn overflow_labels(reason: Option<&Reason>) -> Labels {
    let [reason, subsystem] = of_reason(reason);
    [reason, subsystem, nothing(), nothing(), nothing(), nothing(), nothing(), nothing()]
}

fn of_reason(reason: Option<&Reason>) -> [Arc<str>; 2] {
    match reason.filter(|reason| reason_name(reason).is_some()) {
        Some(reason) => [Arc::clone(&reason.name), Arc::clone(&reason.subsystem)],
        None => [nothing(), nothing()],
    }
}

fn protocol(place: &Place) -> Arc<str> {
    if place.is_netlink_message() {
        "netlink".into()
    } else if place.protocol == 0 {
        nothing()
    } else {
        ProtocolName(place.protocol).to_string().into()
    }
}

/// As labels tell what is not known.
fn nothing() -> Arc<str> {
    Arc::from("")
}

#[cfg(test)]
mod tests {
    use tracer_common::REASON_ABSENT;

    use super::*;
    use crate::domain::event::{Location, Symbol};

    fn place() -> Place {
        let symbol = Symbol { name: "udp_rcv".into(), offset: 0x1a7, module: Some("ipv4".into()) };
        Place {
            kind: crate::domain::event::Kind::Packet,
            netns_cookie: 0,
            reason: Reason { value: Some(5), subsystem: "core".into(), name: "NO_SOCKET".into() }.into(),
            location: Location { address: 4711, symbol: Some(symbol), trap_group: None }.into(),
            protocol: 0x0800,
            interface: Some("lo".into()),
            ifindex: 1,
            netns: 7,
            netns_name: Some("blue".into()),
        }
    }

    fn labels(place: &Place) -> [String; 8] {
        Surroundings::new(8, true).labels(place).map(|label| label.to_string())
    }

    #[test]
    fn a_place_is_told_without_addresses_and_numbers() {
        let expected = ["NO_SOCKET", "core", "udp_rcv", "0x1a7", "ipv4", "loopback", "blue", "ipv4"];
        assert_eq!(labels(&place()), expected);
    }

    #[test]
    fn offsets_are_told_if_asked_for() {
        let told = Surroundings::new(8, false).labels(&place()).map(|label| label.to_string());
        assert_eq!(told, ["NO_SOCKET", "core", "udp_rcv", "", "ipv4", "loopback", "blue", "ipv4"]);
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let reason = Reason { value: Some(REASON_ABSENT), subsystem: "?".into(), name: "?".into() };
        let location = Location { address: 4711, symbol: None, trap_group: None };
        let unknown = Place {
            kind: crate::domain::event::Kind::Packet,
            netns_cookie: 0,
            reason: reason.into(),
            location: location.into(),
            protocol: 0,
            interface: None,
            ifindex: 0,
            netns: 0,
            netns_name: None,
        };
        assert_eq!(labels(&unknown), [""; 8]);
        assert_eq!(overflow_labels(None).map(|label| label.to_string()), [""; 8]);
    }

    #[test]
    fn namespaces_are_told_as_own_by_name_or_as_one_without() {
        let of =
            |netns, name: Option<&str>| labels(&Place { netns, netns_name: name.map(Arc::from), ..place() })[6].clone();
        assert_eq!(
            [of(8, None), of(8, Some("red")), of(7, None), of(7, Some("red"))],
            ["own", "own", "unnamed", "red"]
        );
    }

    #[test]
    fn a_new_name_is_no_new_place() {
        let renamed = Place { interface: Some("wan".into()), netns_name: None, ..place() };
        assert_eq!(Spot::from(&place()), Spot::from(&renamed));
        let without_index = |name: &str| Spot::from(&Place { interface: Some(name.into()), ifindex: 0, ..place() });
        assert_ne!(without_index("eth0"), without_index("eth1"));
    }

    #[test]
    fn messages_to_listeners_are_no_packets() {
        let symbol = Symbol { name: "netlink_broadcast_filtered".into(), offset: 1, module: None };
        let location = Location { address: 1, symbol: Some(symbol), trap_group: None };
        let kind = crate::domain::event::Kind::Netlink;
        let told = labels(&Place { kind, location: location.into(), interface: None, ifindex: 0, ..place() });
        assert_eq!((&*told[5], &*told[7]), ("", "netlink"));
    }
}
