//! What a rule has loaded into a register, as `nft` writes it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// How a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A number in the byte order of the network.
    Network,
    /// A number in the byte order of the host.
    Host,
    /// A text, filled up with NUL.
    Text,
    /// An address of IP.
    Address,
    /// The protocol of the IP payload.
    Protocol,
    /// The family of the packet.
    Family,
    /// The state of a connection.
    State,
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    /// Its name, such as `ip saddr`.
    pub(super) name: &'static str,
    /// How its values are shown.
    pub(super) form: Form,
    /// The name of the protocol that it implies.
    pub(super) implies: Option<&'static str>,
}

const fn plain(name: &'static str, form: Form) -> Loaded {
    Loaded { name, form, implies: None }
}

/// What `meta` loads (`enum nft_meta_keys`); `None` for keys that are not put into words.
pub(super) const fn of_meta(key: u32) -> Option<Loaded> {
    Some(match key {
        0 => plain("meta length", Form::Host),
        3 => plain("meta mark", Form::Host),
        4 => plain("iif", Form::Host),
        5 => plain("oif", Form::Host),
        6 => plain("iifname", Form::Text),
        7 => plain("oifname", Form::Text),
        10 => plain("meta skuid", Form::Host),
        15 => plain("meta nfproto", Form::Family),
        16 => plain("meta l4proto", Form::Protocol),
        _ => return None,
    })
}

/// What `ct` loads (`enum nft_ct_keys`).
pub(super) const fn of_ct(key: u32) -> Option<Loaded> {
    Some(match key {
        0 => plain("ct state", Form::State),
        3 => plain("ct mark", Form::Host),
        _ => return None,
    })
}

/// What `payload` loads: base (`enum nft_payload_bases`), offset and length in bytes. `family` and `transport` are what the
/// rule has checked before.
pub(super) fn of_payload(
    at: (u32, u32, u32),
    family: Option<&'static str>,
    transport: Option<&'static str>,
) -> Option<Loaded> {
    let of_network = |name, form, implies| Some(Loaded { name, form, implies: Some(implies) });
    match (at, family) {
        // `nft` loads the leading bytes of nets whose prefix ends with a byte.
        ((1, 12, 1..=4), Some("ipv4")) => of_network("ip saddr", Form::Address, "ipv4"),
        ((1, 16, 1..=4), Some("ipv4")) => of_network("ip daddr", Form::Address, "ipv4"),
        ((1, 9, 1), Some("ipv4")) => of_network("ip protocol", Form::Protocol, "ipv4"),
        ((1, 8, 1..=16), Some("ipv6")) => of_network("ip6 saddr", Form::Address, "ipv6"),
        ((1, 24, 1..=16), Some("ipv6")) => of_network("ip6 daddr", Form::Address, "ipv6"),
        ((1, 6, 1), Some("ipv6")) => of_network("ip6 nexthdr", Form::Protocol, "ipv6"),
        ((2, offset @ (0 | 2), 2), _) => {
            let is_source = offset == 0;
            let name = match transport {
                Some("tcp") => ["tcp dport", "tcp sport"],
                Some("udp") => ["udp dport", "udp sport"],
                _ => ["th dport", "th sport"],
            };
            Some(Loaded { name: name[usize::from(is_source)], form: Form::Network, implies: transport })
        }
        ((2, 0, 1), _) if transport == Some("icmp") => {
            Some(Loaded { name: "icmp type", form: Form::Network, implies: transport })
        }
        ((2, 0, 1), _) if transport == Some("ipv6-icmp") => {
            Some(Loaded { name: "icmpv6 type", form: Form::Network, implies: transport })
        }
        _ => None,
    }
}

impl Loaded {
    /// A value of it; `None` for one of another width.
    pub(super) fn value(&self, bytes: &[u8]) -> Option<String> {
        match self.form {
            Form::Network => network(bytes).map(|number| number.to_string()),
            Form::Host => host(bytes).map(|number| number.to_string()),
            Form::State => host(bytes).and_then(states),
            Form::Address => self.address(bytes),
            Form::Protocol => bytes.first().map(|number| protocol(*number)),
            Form::Family => family(*bytes.first()?).map(str::to_owned),
            Form::Text => {
                let end = bytes.iter().position(|byte| *byte == 0);
                // Without a NUL, it is the start of a text.
                let star = if end.is_none() { "*" } else { "" };
                let text = std::str::from_utf8(&bytes[..end.unwrap_or(bytes.len())]).ok()?;
                Some(format!("\"{text}{star}\""))
            }
        }
    }

    fn is_ipv4(&self) -> bool {
        self.implies == Some("ipv4")
    }

    /// An address, with the length of its prefix if there are not all bytes.
    fn address(&self, bytes: &[u8]) -> Option<String> {
        let mut whole = [0; 16];
        whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let (text, most) = if self.is_ipv4() {
            (Ipv4Addr::from(*whole.first_chunk::<4>()?).to_string(), 4)
        } else {
            (Ipv6Addr::from(whole).to_string(), 16)
        };
        match bytes.len() {
            length if length == most => Some(text),
            length if length < most => Some(format!("{text}/{}", length * 8)),
            _ => None,
        }
    }

    /// A net: an address of which only the bits of `mask` count.
    pub(super) fn net(&self, bytes: &[u8], mask: &[u8]) -> Option<String> {
        let ones = mask.iter().map(|byte| byte.leading_ones()).take_while(|ones| *ones > 0).sum::<u32>();
        let is_prefix = mask.iter().map(|byte| byte.count_ones()).sum::<u32>() == ones;
        let is_whole = bytes.len() == if self.is_ipv4() { 4 } else { 16 };
        let fits = self.form == Form::Address && is_prefix && is_whole && mask.len() == bytes.len();
        fits.then(|| self.address(bytes)).flatten().map(|address| format!("{address}/{ones}"))
    }
}

/// The name of a protocol that rules check; its number for others.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "ipv6-icmp".to_owned(),
        other => other.to_string(),
    }
}

/// The protocol, if other loads depend on it.
pub(super) const fn transport(number: u8) -> Option<&'static str> {
    match number {
        1 => Some("icmp"),
        6 => Some("tcp"),
        17 => Some("udp"),
        58 => Some("ipv6-icmp"),
        _ => None,
    }
}

/// The name of the family of a packet.
pub(super) const fn family(number: u8) -> Option<&'static str> {
    match number {
        super::IPV4 => Some("ipv4"),
        super::IPV6 => Some("ipv6"),
        _ => None,
    }
}

/// The names of the states in a set of bits (`enum ip_conntrack_info`, `NF_CT_STATE_BIT`).
pub(super) fn states(bits: u32) -> Option<String> {
    const NAMES: [(u32, &str); 5] = [(2, "established"), (4, "related"), (8, "new"), (1, "invalid"), (64, "untracked")];
    let known = NAMES.iter().map(|(bit, _)| bit).sum::<u32>();
    let names: Vec<_> = NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    (bits != 0 && bits & !known == 0).then(|| names.join(","))
}

fn network(bytes: &[u8]) -> Option<u32> {
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A number of 32 bits in the byte order of the host.
pub(super) fn host(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}
