//! The values of a row, and those that the conditions of a filter name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::selection::{filter_of, is_filter};
use crate::domain::event::NamedKey;
use crate::explain::{Entrance, Topic, Values};
use crate::filter::question::Question;
use crate::filter::{Filter, Necessary, Side};

/// The values of a key. `has_sockets`: the owner of the row is that of packets' sockets. The way into the network namespace
/// is its name, if it has one.
pub fn values_of(key: &NamedKey, has_sockets: bool) -> Values {
    let flow = key.flow.as_deref();
    let inode = (key.netns != 0).then(|| key.netns.to_string());
    Values {
        entrance: key.netns_name.as_ref().map_or_else(Entrance::default, |name| Entrance::Name(name.to_string())),
        netns: key.netns_name.as_ref().map(ToString::to_string).or(inode),
        interface: key.interface.as_ref().map(ToString::to_string),
        source: flow.and_then(|flow| flow.source),
        destination: flow.and_then(|flow| flow.destination),
        source_port: flow.and_then(|flow| flow.source_port),
        destination_port: flow.and_then(|flow| flow.destination_port),
        pid: flow.and_then(|flow| flow.process.as_ref()).map(|process| process.pid),
        filter: filter_of(key, has_sockets),
        ..Values::default()
    }
}

/// The way into a network namespace that is given as `--netns` takes it, as far as the text alone shows it: an inode number
/// leads nowhere.
pub fn entrance_of_text(target: &str) -> Entrance {
    let pid = target.strip_prefix("pid:").and_then(|pid| pid.parse().ok());
    match (target, pid) {
        ("self", _) => Entrance::Own,
        (_, Some(pid)) => Entrance::Process(pid),
        _ if target.parse::<u64>().is_ok() || target.starts_with("pid:") => Entrance::Unknown,
        _ if target.contains('/') => Entrance::File(target.into()),
        _ => Entrance::Name(target.into()),
    }
}

/// What the conditions of a filter say of a row; each absent where the filter does not demand one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// `reason NAME`.
    pub(crate) reason: Option<String>,
    /// `site FUNCTION`.
    pub(crate) site: Option<String>,
    /// The other values, without the way into the network namespace.
    pub(crate) values: Values,
}

impl Terms {
    /// The terms of a filter.
    pub(crate) fn of(filter: &Filter) -> Self {
        let mut terms = Self { values: Values { filter: filter.text.clone(), ..Values::default() }, ..Self::default() };
        filter.necessary_questions().into_iter().for_each(|question| terms.take(question));
        filter.necessary().into_iter().for_each(|condition| terms.values.take(condition));
        terms
    }

    /// The values for the explanation of a topic: its name is a condition as well.
    #[must_use]
    pub(crate) fn values_for(&self, topic: &Topic<'_>) -> Values {
        let named = match topic {
            Topic::Reason(name, ..) if self.reason.is_none() => Some(format!("reason {name}")),
            Topic::Site(name, _) if self.site.is_none() && self.reason.is_none() => Some(format!("site {name}")),
            _ => None,
        };
        let named = named.filter(|condition| is_filter(condition));
        let filter = match (named, &*self.values.filter) {
            (None, filter) => filter.to_owned(),
            (Some(named), "") => named,
            (Some(named), filter) => format!("{named} and ({filter})"),
        };
        Values { filter, ..self.values.clone() }
    }

    fn take(&mut self, question: Question) {
        // A pattern is no name.
        let name = |text: Box<str>| (!text.contains('*')).then(|| text.into_string());
        match question {
            Question::Reason(reason) => self.reason = name(reason),
            Question::Site(site) => self.site = name(site),
            Question::Netns(netns) => self.values.netns = name(netns),
            Question::Interface(interface) => self.values.interface = name(interface),
            Question::Process(process) => self.values.pid = process.parse().ok(),
            _ => {}
        }
    }
}

impl Values {
    fn take(&mut self, condition: Necessary) {
        match condition {
            Necessary::Ipv4 { side, address, mask: u32::MAX } => {
                self.take_address(side, Ipv4Addr::from(address).into());
            }
            Necessary::Ipv6 { side, address, mask: u128::MAX } => {
                self.take_address(side, Ipv6Addr::from(address).into());
            }
            Necessary::Ports { side, first, last } if first == last => self.take_port(side, first),
            Necessary::Payload(_) | Necessary::Ipv4 { .. } | Necessary::Ipv6 { .. } | Necessary::Ports { .. } => {}
        }
    }

    const fn take_address(&mut self, side: Side, address: IpAddr) {
        match side {
            Side::Source => self.source = Some(address),
            Side::Destination => self.destination = Some(address),
            Side::Either | Side::Both => self.address = Some(address),
        }
    }

    const fn take_port(&mut self, side: Side, port: u16) {
        match side {
            Side::Source => self.source_port = Some(port),
            Side::Destination => self.destination_port = Some(port),
            Side::Either | Side::Both => self.port = Some(port),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::Reason;
    use crate::domain::flow::Flow;
    use crate::explain::Library;

    fn terms(text: &str) -> Terms {
        Terms::of(&Filter::parse(text).unwrap())
    }

    #[test]
    fn conditions_are_values() {
        let found =
            terms("reason SOCKET_RCVBUFF and netns web and iface eth0 and udp dst port 53 and src host 192.0.2.1");
        assert_eq!((found.reason.as_deref(), found.site), (Some("SOCKET_RCVBUFF"), None));
        let Values { netns, interface, source, destination_port, port, .. } = found.values;
        assert_eq!((netns.as_deref(), interface.as_deref()), (Some("web"), Some("eth0")));
        assert_eq!((source, destination_port, port), ("192.0.2.1".parse().ok(), Some(53), None));
        let either = terms("host ::1 and port 53").values;
        assert_eq!((either.address, either.port), ("::1".parse().ok(), Some(53)));
        for unknown in ["netns web or netns db", "reason TCP_*", "portrange 5-9", "net 10.0.0.0/8", "not iface eth0"] {
            let filter = unknown.to_owned();
            let nothing = Terms { values: Values { filter, ..Values::default() }, ..Terms::default() };
            assert_eq!(terms(unknown), nothing, "{unknown}");
        }
    }

    #[test]
    fn name_of_the_topic_is_a_condition() {
        let library = Library::built_in().unwrap();
        let filter = |asked: &str, terms: &Terms| terms.values_for(&library.named(asked).unwrap()).filter;
        assert_eq!(filter("NO_SOCKET", &Terms::default()), "reason NO_SOCKET");
        assert_eq!(filter("ip_error", &terms("udp or tcp")), "site ip_error and (udp or tcp)");
        assert_eq!(filter("NO_SOCKET", &terms("reason NO_SOCKET and udp")), "reason NO_SOCKET and udp");
        assert_eq!(filter("TcpExtListenDrops", &terms("netns web")), "netns web");
    }

    #[test]
    fn key_has_its_values() {
        let flow = Flow { destination: "10.0.0.2".parse().ok(), destination_port: Some(53), ..Flow::default() };
        let reason = Reason { value: Some(3), subsystem: "core".into(), name: "NO_SOCKET".into() };
        let key = NamedKey { reason: Arc::new(reason), netns: 7, flow: Some(flow.into()), ..NamedKey::default() };
        let values = values_of(&key, false);
        assert_eq!((values.entrance, values.netns.as_deref()), (Entrance::Unknown, Some("7")));
        assert_eq!(values.destination_port, Some(53));
        assert_eq!(values.filter, "reason NO_SOCKET and netns 7 and dst host 10.0.0.2 and dst port 53");
    }

    #[test]
    fn text_shows_the_way_in() {
        for (text, expected) in [
            ("self", Entrance::Own),
            ("web", Entrance::Name("web".into())),
            ("pid:12", Entrance::Process(12)),
            ("pid:x", Entrance::Unknown),
            ("4026531840", Entrance::Unknown),
            ("/proc/1/ns/net", Entrance::File("/proc/1/ns/net".into())),
        ] {
            assert_eq!(entrance_of_text(text), expected, "{text}");
        }
    }
}
