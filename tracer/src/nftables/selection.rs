//! Which packets are traced: the conditions of a filter that nftables can check.

use super::expressions::{Base, Comparison, Expressions, L4PROTO, NFPROTO};
use super::{IPV4, IPV4_FRAGMENT, IPV6, IPV6_FRAGMENT};
use crate::filter::{Filter, Necessary, Side};

/// The most rules for alternatives. A condition that needs more is left out.
const MOST_RULES: usize = 16;

/// Conditions of which each is one of several alternatives: the packets that meet all conditions of one rule are traced.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    rules: Vec<Expressions>,
}

impl Selection {
    /// Packets that may match; all packets without a filter.
    pub(crate) fn of(filter: Option<&Filter>) -> Self {
        let mut necessary = filter.map(Filter::necessary).unwrap_or_default();
        necessary.dedup();
        let mut rules = combinations(necessary.iter());
        rules.extend(for_fragments(&necessary));
        Self { rules }
    }

    pub(super) fn rules(&self) -> &[Expressions] {
        &self.rules
    }
}

/// A rule for each combination of the alternatives of these conditions.
fn combinations<'c>(conditions: impl Iterator<Item = &'c Necessary>) -> Vec<Expressions> {
    let mut rules = vec![Expressions::new()];
    for condition in conditions {
        let alternatives = alternatives(*condition);
        if rules.len() * alternatives.len() <= MOST_RULES {
            let with = |rule: &Expressions| -> Vec<_> {
                alternatives.iter().map(|sides| add(rule.clone(), *condition, sides)).collect()
            };
            rules = rules.iter().flat_map(with).collect();
        }
    }
    rules
}

/// Rules for the fragments that may belong to a packet with the wanted ports: connection tracking reassembles them after
/// droptrace's chain, and the whole packet has the kernel's number of the fragment that came last. None without ports.
fn for_fragments(necessary: &[Necessary]) -> Vec<Expressions> {
    let is_of_ports = |condition: &&Necessary| matches!(condition, Necessary::Ports { .. });
    if !necessary.iter().any(|condition| is_of_ports(&condition)) {
        return Vec::new();
    }
    let rules = combinations(necessary.iter().filter(|condition| !is_of_ports(condition)));
    let has = |wanted: fn(&Necessary) -> bool| necessary.iter().any(wanted);
    let (is_ipv4, is_ipv6) = (
        has(|condition| matches!(condition, Necessary::Ipv4 { .. })),
        has(|condition| matches!(condition, Necessary::Ipv6 { .. })),
    );
    let ipv4 = rules.iter().filter(|_| !is_ipv6).map(|rule| {
        let rule = of_family(rule.clone(), IPV4).payload(Base::Network, 6, 2).mask(&IPV4_FRAGMENT.to_be_bytes());
        rule.compare(Comparison::Unequal, &[0, 0])
    });
    let ipv6 = rules.iter().filter(|_| !is_ipv4).map(|rule| {
        let rule = of_family(rule.clone(), IPV6).payload(Base::Network, 6, 1);
        rule.compare(Comparison::Equal, &[IPV6_FRAGMENT])
    });
    ipv4.chain(ipv6).collect()
}

/// The side of the sender and that of the receiver: which of them must meet the condition, for each alternative.
fn alternatives(condition: Necessary) -> &'static [&'static [bool]] {
    let (Necessary::Ipv4 { side, .. } | Necessary::Ipv6 { side, .. } | Necessary::Ports { side, .. }) = condition
    else {
        return &[&[]];
    };
    match side {
        Side::Source => &[&[true]],
        Side::Destination => &[&[false]],
        Side::Either => &[&[true], &[false]],
        Side::Both => &[&[true, false]],
    }
}

/// Adds a condition for each side: `true` is the sender's.
fn add(rule: Expressions, condition: Necessary, sides: &[bool]) -> Expressions {
    match condition {
        Necessary::Payload(protocol) => rule.meta(L4PROTO).compare(Comparison::Equal, &[protocol]),
        Necessary::Ipv4 { address, mask, .. } => sides.iter().fold(of_family(rule, IPV4), |rule, is_source| {
            address_in(rule, if *is_source { 12 } else { 16 }, &address.to_be_bytes(), &mask.to_be_bytes())
        }),
        Necessary::Ipv6 { address, mask, .. } => sides.iter().fold(of_family(rule, IPV6), |rule, is_source| {
            address_in(rule, if *is_source { 8 } else { 24 }, &address.to_be_bytes(), &mask.to_be_bytes())
        }),
        Necessary::Ports { first, last, .. } => sides.iter().fold(rule, |rule, is_source| {
            let rule = rule.payload(Base::Transport, if *is_source { 0 } else { 2 }, 2);
            if first == last {
                return rule.compare(Comparison::Equal, &first.to_be_bytes());
            }
            let rule = rule.compare(Comparison::AtLeast, &first.to_be_bytes());
            rule.compare(Comparison::AtMost, &last.to_be_bytes())
        }),
    }
}

fn of_family(rule: Expressions, family: u8) -> Expressions {
    rule.meta(NFPROTO).compare(Comparison::Equal, &[family])
}

fn address_in(rule: Expressions, offset: u32, address: &[u8], mask: &[u8]) -> Expressions {
    let length = u32::try_from(address.len()).unwrap_or_default();
    rule.payload(Base::Network, offset, length).mask(mask).compare(Comparison::Equal, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> (usize, bool) {
        let filter = Filter::parse(text).unwrap();
        (Selection::of(Some(&filter)).rules().len(), filter.necessary().is_empty())
    }

    #[test]
    fn each_alternative_is_a_rule() {
        assert_eq!(rules("udp dst port 53"), (3, false));
        assert_eq!(rules("udp port 53"), (4, false));
        assert_eq!(rules("host 192.0.2.1 and port 53"), (6, false));
        assert_eq!(rules("src and dst port 53"), (3, false));
        assert_eq!(rules("host 192.0.2.1 and udp"), (2, false), "fragments have an address");
        assert_eq!(rules("tcp or udp"), (1, true));
        assert_eq!(Selection::of(None).rules().len(), 1);
    }

    #[test]
    fn rules_are_bounded() {
        let hosts: Vec<_> = (1..9).map(|host| format!("host 192.0.2.{host}")).collect();
        let text = hosts.join(" and ");
        assert_eq!(rules(&text), (MOST_RULES, false));
    }
}
