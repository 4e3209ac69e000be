//! The words of the language, and what they stand for. Ports and protocols have the same names on all hosts: nothing is
//! read from `/etc/services`.

use super::ast::{Family, Header};

/// `EtherType`s (`include/uapi/linux/if_ether.h`).
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const RARP: u16 = 0x8035;
pub(super) const IPV6: u16 = 0x86dd;
/// `EtherType`s of VLAN tags.
pub(super) const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Protocols behind IP (`include/uapi/linux/in.h`).
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const ICMP6: u8 = 58;
pub(super) const SCTP: u8 = 132;

/// A word that names a protocol, alone or before another word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Ethernet itself.
    Link,
    /// A protocol with an `EtherType`.
    Network(u16),
    /// A protocol behind IP.
    Payload(Family, u8),
}

impl Protocol {
    /// The header of `PROTOCOL[…]`; absent for headers that have no fixed position.
    pub(super) const fn header(self) -> Option<Header> {
        match self {
            Self::Link => Some(Header::Link),
            Self::Network(ether_type) => Some(Header::Network(ether_type)),
            Self::Payload(_, ICMP6) => Some(Header::Icmp6),
            Self::Payload(_, 50 | 51) => None,
            Self::Payload(_, number) => Some(Header::Transport(number)),
        }
    }
}

pub(super) const PROTOCOLS: [(&str, Protocol); 18] = [
    ("ether", Protocol::Link),
    ("link", Protocol::Link),
    ("ip", Protocol::Network(IPV4)),
    ("ip6", Protocol::Network(IPV6)),
    ("arp", Protocol::Network(ARP)),
    ("rarp", Protocol::Network(RARP)),
    ("tcp", Protocol::Payload(Family::Either, TCP)),
    ("udp", Protocol::Payload(Family::Either, UDP)),
    ("sctp", Protocol::Payload(Family::Either, SCTP)),
    ("icmp", Protocol::Payload(Family::V4, 1)),
    ("icmp6", Protocol::Payload(Family::V6, ICMP6)),
    ("igmp", Protocol::Payload(Family::V4, 2)),
    ("igrp", Protocol::Payload(Family::V4, 9)),
    ("pim", Protocol::Payload(Family::Either, 103)),
    ("vrrp", Protocol::Payload(Family::V4, 112)),
    ("carp", Protocol::Payload(Family::V4, 112)),
    ("esp", Protocol::Payload(Family::Either, 50)),
    ("ah", Protocol::Payload(Family::Either, 51)),
];

/// All other words of the language.
pub(super) const OTHERS: [&str; 32] = [
    "and",
    "or",
    "not",
    "src",
    "dst",
    "host",
    "net",
    "mask",
    "port",
    "portrange",
    "proto",
    "broadcast",
    "multicast",
    "less",
    "greater",
    "len",
    "length",
    "vlan",
    "reason",
    "site",
    "netns",
    "iface",
    "cgroup",
    "container",
    "pod",
    "process",
    "uid",
    "usual",
    "unusual",
    "icmptype",
    "icmpcode",
    "tcpflags",
];

/// Words of tcpdump that this language lacks, and what to write instead.
pub(super) const LACKING: [(&str, &str); 20] = [
    ("protochain", "write `proto N`, which looks directly behind the IP header"),
    ("gateway", "write `ether host MAC and not host ADDRESS`"),
    ("byte", "write `ether[N]`"),
    ("inbound", "write `iface NAME`"),
    ("outbound", "write `iface NAME`"),
    ("ifindex", "write `iface INDEX`"),
    ("ifname", "write `iface NAME`"),
    ("on", "write `iface NAME`"),
    ("mpls", "write `ether proto 0x8847`"),
    ("pppoed", "write `ether proto 0x8863`"),
    ("pppoes", "write `ether proto 0x8864`"),
    ("geneve", "write `udp port 6081`"),
    ("vxlan", "write `udp port 4789`"),
    ("llc", "only frames with an EtherType can be tested"),
    ("iso", "only frames with an EtherType can be tested"),
    ("stp", "only frames with an EtherType can be tested"),
    ("wlan", "only Ethernet headers can be tested: write `ether`"),
    ("fddi", "only Ethernet headers can be tested: write `ether`"),
    ("tr", "only Ethernet headers can be tested: write `ether`"),
    ("action", "write `reason NAME` or `site FUNCTION`"),
];

/// `EtherType`s by name, beside those of [`PROTOCOLS`].
const ETHER_TYPES: [(&str, u16); 6] =
    [("mpls", 0x8847), ("pppoed", 0x8863), ("pppoes", 0x8864), ("eapol", 0x888e), ("macsec", 0x88e5), ("lldp", 0x88cc)];

/// Protocols behind IP by name, beside those of [`PROTOCOLS`].
const PAYLOADS: [(&str, u8); 16] = [
    ("hopopt", 0),
    ("ipip", 4),
    ("ipencap", 4),
    ("egp", 8),
    ("igp", 9),
    ("dccp", 33),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("gre", 47),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ospf", 89),
    ("l2tp", 115),
    ("udplite", 136),
];

const PORTS: [(&str, u16); 63] = [
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("domain", 53),
    ("dns", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("www", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("auth", 113),
    ("nntp", 119),
    ("ntp", 123),
    ("epmap", 135),
    ("netbios-ns", 137),
    ("netbios-dgm", 138),
    ("netbios-ssn", 139),
    ("imap", 143),
    ("imap2", 143),
    ("snmp", 161),
    ("snmp-trap", 162),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("isakmp", 500),
    ("syslog", 514),
    ("dhcpv6-client", 546),
    ("dhcpv6-server", 547),
    ("rtsp", 554),
    ("submissions", 465),
    ("submission", 587),
    ("ipp", 631),
    ("ldaps", 636),
    ("domain-s", 853),
    ("rsync", 873),
    ("ftps", 990),
    ("imaps", 993),
    ("pop3s", 995),
    ("socks", 1080),
    ("openvpn", 1194),
    ("ms-sql-s", 1433),
    ("radius", 1812),
    ("radius-acct", 1813),
    ("nfs", 2049),
    ("etcd-client", 2379),
    ("mysql", 3306),
    ("bfd-control", 3784),
    ("ipsec-nat-t", 4500),
    ("vxlan", 4789),
    ("sip", 5060),
    ("mdns", 5353),
    ("postgresql", 5432),
    ("geneve", 6081),
    ("redis", 6379),
    ("http-alt", 8080),
    ("kubelet", 10250),
];

/// Numbers by name, as pcap-filter(7) has them.
const CONSTANTS: [(&str, u32); 30] = [
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
];

const ICMP6_CONSTANTS: [(&str, u32); 27] = [
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
];

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

pub(super) fn protocol(name: &str) -> Option<Protocol> {
    find(&PROTOCOLS, name)
}

pub(super) fn lacking(name: &str) -> Option<&'static str> {
    find(&LACKING, name)
}

pub(super) fn constant(name: &str) -> Option<u32> {
    find(&CONSTANTS, name).or_else(|| find(&ICMP6_CONSTANTS, name))
}

pub(super) fn port(name: &str) -> Option<u16> {
    find(&PORTS, name)
}

/// The protocol behind IP with this name.
pub(super) fn payload(name: &str) -> Option<u8> {
    match protocol(name) {
        Some(Protocol::Payload(_, number)) => Some(number),
        _ => find(&PAYLOADS, name),
    }
}

/// The `EtherType` with this name.
pub(super) fn ether_type(name: &str) -> Option<u16> {
    match protocol(name) {
        Some(Protocol::Network(ether_type)) => Some(ether_type),
        _ => find(&ETHER_TYPES, name),
    }
}

/// Whether a word is one of the language's own, so that it is no name unless a backslash or quotation marks say so.
pub(super) fn is_reserved(word: &str) -> bool {
    OTHERS.contains(&word) || protocol(word).is_some() || lacking(word).is_some() || constant(word).is_some()
}

/// The known word that is most similar to this one, if one is.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    let known = PROTOCOLS.iter().map(|(known, _)| *known).chain(OTHERS);
    closest(word, known)
}

/// The name of a port that is most similar to this one, if one is.
pub(super) fn nearest_port(word: &str) -> Option<&'static str> {
    closest(word, PORTS.iter().map(|(known, _)| *known))
}

/// The known name that is most similar to this one: at most two letters differ. Words of more than 32 bytes resemble none.
pub fn closest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Longer words are no mistyped words of the language, and take time.
    if word.len() > 32 {
        return None;
    }
    let distances = known.map(|known| (strsim::osa_distance(word, known), known));
    let (distance, known) = distances.min()?;
    (distance <= 2 && distance < word.len().min(known.len())).then_some(known)
}
