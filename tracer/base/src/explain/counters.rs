//! The meaning of the kernel's counters of drops, and the drops that each one counts, from `data/counters.toml`.

mod show;

use std::collections::BTreeMap;

use serde::Deserialize;

pub(super) use show::write_counter;

/// How a counter relates to the drops at `kfree_skb`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Each rise is one drop with one of the counter's reasons.
    Exact,
    /// The counter rises for packets that are lost without `kfree_skb`.
    NotTraceable,
    /// The counter rises for some of its drops only, or once for several of them.
    AtMost,
    /// The counter rises for its drops, perhaps once for several of them, and for packets that are lost without `kfree_skb`.
    PartlyTraceable,
    /// The counter rises without a loss.
    NoLoss,
    /// The counter is a part or a sum of others.
    Copy,
}

impl Class {
    /// The name in JSON and the data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::NotTraceable => "not-traceable",
            Self::AtMost => "at-most",
            Self::PartlyTraceable => "partly-traceable",
            Self::NoLoss => "no-loss",
            Self::Copy => "copy",
        }
    }

    /// Whether a rise can be compared with the drops that were counted.
    pub const fn is_compared(self) -> bool {
        matches!(self, Self::Exact | Self::NotTraceable | Self::PartlyTraceable)
    }
}

/// Whose a counter is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A network namespace's (`/proc/PID/net`).
    #[default]
    Namespace,
    /// The whole host's.
    Host,
    /// An interface's.
    Interface,
}

/// Drops that a counter counts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CountedDrops {
    /// The core reason, without `SKB_DROP_REASON_`.
    pub reason: String,
    /// Words of which the name of the function that drops has one; empty for any function.
    pub at: Vec<String>,
    /// Only the counter's protocol has the reason, so that a drop with it belongs to the counter at any function.
    #[serde(default)]
    pub unique: bool,
}

impl CountedDrops {
    /// Whether a function may be the drop site. A function without a known name may be.
    pub fn may_be_at(&self, function: Option<&str>) -> bool {
        let Some(function) = function else { return true };
        self.at.is_empty() || self.at.iter().any(|word| function.contains(word.as_str()))
    }
}

/// The explanation of one counter. Sentences are plain text in one line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// How the counter relates to drops.
    pub class: Class,
    /// Whose the counter is.
    #[serde(default)]
    pub scope: Scope,
    /// The counters that this one is a part or the sum of.
    #[serde(default)]
    pub of: Vec<String>,
    /// The drops that the counter counts as well.
    #[serde(default)]
    pub drops: Vec<CountedDrops>,
    /// Any drop of the interface may be among the rise, because only the driver knows what it counts.
    #[serde(default)]
    pub any_drop: bool,
    /// The kernel frees these packets at `kfree_skb` only since it has a reason for them. Before Linux 5.18, `tcp_drop`
    /// (`net/ipv4/tcp_input.c`) called `__kfree_skb`, which has no tracepoint.
    #[serde(default)]
    pub with_reason: bool,
    /// The packets that the counter counts, as a phrase.
    pub meaning: String,
    /// Common causes.
    pub causes: Vec<String>,
    /// Shell commands to run next, in the form of [`super::fill`]; words in capitals (`NETNS`) are placeholders.
    pub next: Vec<String>,
}

/// The begin of the names of counters that drivers name, as `ethtool -S` shows them.
pub const OF_DRIVERS: &str = "ethtool:";

/// The counters by name, as `nstat` spells it.
#[derive(Clone, Debug)]
pub struct Counters(BTreeMap<String, Counter>);

impl Counters {
    /// The built-in counters. An error is a fault of droptrace.
    pub fn built_in() -> Result<Self, super::MalformedData> {
        toml::from_str(include_str!("../../data/counters.toml")).map(Self)
    }

    /// The same counters with their classes on a kernel that has these reasons.
    #[must_use]
    pub fn on_kernel(mut self, mut has_reason: impl FnMut(&str) -> bool) -> Self {
        let hidden = |counter: &&mut Counter| {
            counter.with_reason && !counter.drops.iter().any(|drops| has_reason(&drops.reason))
        };
        self.0.values_mut().filter(hidden).for_each(|counter| counter.class = Class::NotTraceable);
        self
    }

    /// Finds a counter by its name, in any case, with or without the file before it (`netstat:TcpExtListenDrops`). All counters of
    /// drivers ([`OF_DRIVERS`]) share one entry.
    pub fn get(&self, asked: &str) -> Option<(&str, &Counter)> {
        if asked.trim().starts_with(OF_DRIVERS) {
            return self.iter().find(|(known, _)| known.starts_with(OF_DRIVERS));
        }
        let name = asked.trim().rsplit(':').next().unwrap_or(asked);
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// All counters, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Counter)> {
        self.0.iter().map(|(name, counter)| (name.as_str(), counter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Explanations;

    #[test]
    fn every_counter_is_complete() {
        let (counters, reasons) = (Counters::built_in().unwrap(), Explanations::built_in().unwrap());
        for (name, counter) in counters.iter() {
            assert!(!counter.causes.is_empty() && !counter.next.is_empty(), "{name}");
            assert!(!counter.meaning.ends_with('.') && !counter.meaning.contains('\n'), "{name}");
            assert!(counter.causes.iter().all(|cause| cause.ends_with('.')), "{name}");
            assert_eq!(counter.class == Class::Copy, !counter.of.is_empty(), "{name}");
            let has_drops = !matches!(counter.class, Class::Copy | Class::NoLoss);
            assert!(has_drops || counter.drops.is_empty(), "{name}");
            assert!(!has_drops || !counter.drops.is_empty() || counter.scope == Scope::Interface, "{name}");
            assert!(counter.of.iter().all(|of| counters.get(of).is_some()), "{name}: {:?}", counter.of);
            for CountedDrops { reason, at, .. } in &counter.drops {
                assert!(reasons.get(reason).is_some_and(|(known, _)| known == reason), "{name}: {reason}");
                let is_narrow = counter.scope == Scope::Interface || !counter.class.is_compared() || !at.is_empty();
                assert!(is_narrow, "{name}: any function would explain it");
            }
        }
    }

    #[test]
    fn packets_freed_without_a_reason_are_not_traceable() {
        let class = |has_reason: fn(&str) -> bool| {
            let counters = Counters::built_in().unwrap().on_kernel(has_reason);
            ["TcpExtTCPOFODrop", "TcpExtTCPBacklogDrop"].map(|name| counters.get(name).unwrap().1.class)
        };
        assert_eq!(class(|reason| reason == "PROTO_MEM"), [Class::Exact; 2]);
        assert_eq!(class(|_| false), [Class::NotTraceable, Class::Exact]);
    }

    #[test]
    fn counter_is_found_in_each_spelling() {
        let counters = Counters::built_in().unwrap();
        for asked in ["TcpExtListenDrops", "tcpextlistendrops", "netstat:TcpExtListenDrops", " TcpExtListenDrops "] {
            assert_eq!(counters.get(asked).map(|(name, _)| name), Some("TcpExtListenDrops"), "{asked}");
        }
        assert!(counters.get("ListenDrops").is_none() && counters.get("").is_none());
    }

    #[test]
    fn function_decides_by_a_word_of_its_name() {
        let drops = CountedDrops { reason: "NO_SOCKET".into(), at: vec!["udp".into()], unique: false };
        for (function, may) in
            [(Some("__udp4_lib_rcv"), true), (Some("udpv6_rcv.cold"), true), (Some("tcp_v4_rcv"), false), (None, true)]
        {
            assert_eq!(drops.may_be_at(function), may, "{function:?}");
        }
    }
}
