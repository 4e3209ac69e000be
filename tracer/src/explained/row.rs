//! The values of a row for the commands of its explanation.

use std::sync::Arc;

use crate::advice::{entrance_of_text, filter_of, values_of};
use crate::dimension::{ALL, Dimensions};
use crate::domain::event::NamedKey;
use crate::domain::owner::Process;
use crate::explain::Values;
use crate::identity::entrance::entrance;
use crate::packet::{Decoded, TransportName};

use super::recent::Recent;

/// The values of a row, and the packet that some of them are of.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowValues {
    /// The values. An interface, addresses and ports that not all drops share are those of `packet`.
    pub(crate) values: Values,
    /// The last packet of the row that was captured, as tcpdump writes it; absent if there is none.
    pub(crate) packet: Option<String>,
    /// The values that all drops share.
    pub(crate) shared: NamedKey,
    /// The process that has the sockets of most packets open: `receiver dns[7]`.
    pub(crate) holder: Option<String>,
}

/// The values of a row with drops of these keys. `netns` is the namespace that the run was asked for.
pub(crate) fn row_values(keys: &[&NamedKey], recent: &Recent, netns: Option<&str>) -> RowValues {
    let shared = shared(keys);
    let mut values = values_of(&shared, false);
    values.filter = filter_of(&Dimensions::named(&["reason", "site", "netns"]).reduce(&shared), false);
    values.entrance = entrance(shared.netns);
    if let Some(asked) = netns.filter(|_| values.netns.is_none()) {
        (values.netns, values.entrance) = (Some(asked.to_owned()), entrance_of_text(asked));
    }
    values.transport = shared.flow.as_ref().and_then(|flow| flow.transport).and_then(word_of);
    let holder = holder(&shared, keys, recent);
    values.pid = values.pid.or_else(|| holder.as_ref().map(|(process, _)| process.pid));
    let holder = holder.map(|(process, word)| format!("{word} {process}"));
    let Some((key, decoded, packet)) = recent.latest(keys.iter().copied()) else {
        return RowValues { values, packet: None, shared, holder };
    };
    values.interface = values.interface.or_else(|| key.interface.as_ref().map(ToString::to_string));
    add_packet(&mut values, &decoded);
    RowValues { values, packet: Some(packet), shared, holder }
}

fn add_packet(values: &mut Values, decoded: &Decoded) {
    if let Some(source) = decoded.source().filter(|source| !source.address.is_unspecified()) {
        values.source = values.source.or(Some(source.address));
        values.source_port = values.source_port.or(source.port);
    }
    if let Some(destination) = decoded.destination() {
        values.destination = values.destination.or(Some(destination.address));
        values.destination_port = values.destination_port.or(destination.port);
    }
    if let Some(TransportName::Ip(protocol)) = decoded.transport() {
        values.transport = values.transport.or_else(|| word_of(protocol));
    }
}

/// The word of filters for a protocol above IP.
const fn word_of(protocol: u8) -> Option<&'static str> {
    match protocol {
        1 => Some("icmp"),
        6 => Some("tcp"),
        17 => Some("udp"),
        58 => Some("icmp6"),
        _ => None,
    }
}

/// A process, and the word before it.
fn holder(shared: &NamedKey, keys: &[&NamedKey], recent: &Recent) -> Option<(Arc<Process>, String)> {
    let of_packets = recent.holder(keys.iter().copied()).map(|(holder, is_of_all)| {
        let mostly = if is_of_all { "" } else { " mostly" };
        (holder.process, format!("{}{mostly}", holder.role.name()))
    });
    let of_flow = || Some((Arc::clone(shared.flow.as_ref()?.process.as_ref()?), "process".to_owned()));
    of_packets.or_else(of_flow)
}

/// The values that all keys share; all others are unknown.
fn shared(keys: &[&NamedKey]) -> NamedKey {
    let Some((first, rest)) = keys.split_first() else { return NamedKey::default() };
    let mut shared = (*first).clone();
    for dimension in ALL {
        let value = dimension.value(first);
        if rest.iter().any(|key| dimension.value(key) != value) {
            dimension.clear(&mut shared);
        }
    }
    // Two namespaces, one after the other, may have one name.
    if rest.iter().any(|key| (key.netns, key.netns_cookie) != (first.netns, first.netns_cookie)) {
        (shared.netns, shared.netns_cookie, shared.netns_name) = (0, 0, None);
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{DropEvent, Origin, PacketStart};
    use crate::domain::facts::Facts;
    use crate::domain::flow::Flow;
    use crate::explain::Entrance;
    use crate::identity::netns;
    use crate::sink::samples::{NEW_YEAR, key, udp_packet};

    #[test]
    fn packet_has_what_the_row_lacks() {
        let key = Arc::new(NamedKey { netns: netns::own().unwrap(), netns_name: None, ..key() });
        let mut recent = Recent::default();
        recent.add(&DropEvent {
            stack: &[],
            process: None,
            facts: Facts::default(),
            timestamp: NEW_YEAR,
            key: &key,
            seen_by: Origin::Ebpf.alone(),
            length: 90,
            start: PacketStart::Mac,
            bytes: &udp_packet(),
        });
        let RowValues { values, packet, .. } = row_values(&[&key], &recent, None);
        assert_eq!(packet.as_deref(), Some("UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90"));
        assert_eq!((values.source_port, values.destination_port), (Some(53), Some(4444)));
        assert_eq!(values.destination, "10.0.0.2".parse().ok());
        assert_eq!((values.entrance, values.transport), (Entrance::Own, Some("udp")));
        let without = row_values(&[&key], &Recent::default(), None);
        assert_eq!((without.packet, without.values.destination_port), (None, None));
    }

    #[test]
    fn value_is_the_one_that_all_keys_share() {
        let flow = |port| Some(Flow { destination_port: Some(53), source_port: Some(port), ..Flow::default() }.into());
        let one = NamedKey { netns_name: Some("web".into()), flow: flow(1), ..key() };
        let other = NamedKey { interface: Some("eth0".into()), ifindex: 9, flow: flow(2), ..one.clone() };
        let RowValues { values, .. } = row_values(&[&one, &other], &Recent::default(), Some("db"));
        assert_eq!((values.netns.as_deref(), values.interface), (Some("web"), None));
        assert_eq!((values.destination_port, values.source_port), (Some(53), None));
        let elsewhere = NamedKey { netns: 3, ..one.clone() };
        let RowValues { values, .. } = row_values(&[&one, &elsewhere], &Recent::default(), Some("db"));
        assert_eq!((values.netns.as_deref(), values.entrance), (Some("db"), Entrance::Name("db".into())));
        assert_eq!(shared(&[]), NamedKey::default());
    }

    #[test]
    fn name_of_another_namespace_is_no_way_in() {
        let gone = NamedKey { netns: 1, netns_name: Some("no-such-name".into()), ..key() };
        let RowValues { values, .. } = row_values(&[&gone], &Recent::default(), None);
        assert_eq!(values.entrance, Entrance::Unknown);
    }
}
