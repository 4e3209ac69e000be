//! The meaning of the kernel's drop reasons, from `data/reasons.toml`, which was written from the kernel's own comments
//! on `enum skb_drop_reason` and from the code that gives each reason; of its counters of drops (`counters`), and of the
//! functions that free packets (`sites`). `fill` puts the values of a row into the commands.

mod combined;
mod comment;
mod counters;
mod fill;
mod json;
mod sites;
#[cfg(test)]
mod tests;
mod text;
mod topic;
mod traps;
mod usual;
mod wrap;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use counters::{Class, CountedDrops, Counter, Counters, OF_DRIVERS, Scope};
pub use fill::{Command, Entrance, Values, fill, inside, quoted};
pub(crate) use json::write_topic_json;
pub use sites::{Site, Sites};
pub use text::{write_list, write_topic, write_topic_commands_first};
pub use topic::{Library, Topic};
pub use traps::generic_traps;
pub use usual::{UsualDrops, usual_of, usual_of_reason};

/// The prefix of core reasons in the kernel's source.
const PREFIX: &str = "SKB_DROP_REASON_";

/// Number of similar names that are offered for an unknown one.
const OFFERED: usize = 3;

/// Whether a healthy host has drops of this reason.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Usual {
    /// A fault, an attack or a wrong setting: each drop needs a look.
    Never,
    /// A few drops may be harmless.
    Sometimes,
    /// Such drops are part of normal operation.
    Often,
}

impl Usual {
    /// The name in text, JSON and the data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Sometimes => "sometimes",
            Self::Often => "often",
        }
    }

    /// The name in the columns of tables, in at most five characters.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Sometimes => "some",
            Self::Often => "often",
        }
    }
}

/// Why the built-in explanations cannot be read.
pub type MalformedData = toml::de::Error;

/// The explanation of one reason. Sentences are plain text in one line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The reason's subsystem, as in events.
    #[serde(default = "core")]
    pub subsystem: String,
    /// What happened to the packet.
    pub meaning: String,
    /// Whether a healthy host has such drops; absent where the reason alone does not tell.
    pub usual: Option<Usual>,
    /// The cause for which such drops are as usual as they are.
    pub because: String,
    /// Counters that rise with the reason, as `nstat` and `ip -s -s link` spell them: the tests show that they rise by
    /// the number of drops.
    pub counters: Vec<String>,
    /// Counters that may rise with the reason, which no test shows.
    #[serde(default)]
    pub unverified: Vec<String>,
    /// Common causes.
    pub causes: Vec<String>,
    /// Shell commands to run next, in the form of [`fill`]; words in capitals (`IFACE`) are placeholders.
    pub next: Vec<String>,
    /// Shell commands that change the system, in the same form.
    #[serde(default)]
    pub changes: Vec<String>,
}

fn core() -> String {
    "core".into()
}

/// The explanations by the reason's name: core reasons without `SKB_DROP_REASON_`, those of subsystems in full, as
/// everywhere in droptrace.
#[derive(Clone, Debug)]
pub struct Explanations(BTreeMap<String, Explanation>);

impl Explanations {
    /// The built-in explanations. An error is a fault of droptrace.
    pub fn built_in() -> Result<Self, MalformedData> {
        toml::from_str(include_str!("../../data/reasons.toml")).map(Self)
    }

    /// Finds the reason with this name, in any case, with or without `SKB_DROP_REASON_` or `subsystem:` before it. The
    /// detail after a name of XDP's, as in `invalid action 7` and `redirect failed: ENETDOWN (target is down)`, is
    /// ignored.
    pub fn get(&self, asked: &str) -> Option<(&str, &Explanation)> {
        let name = canonical(asked);
        let found = self.0.get_key_value(&name).or_else(|| self.0.get_key_value(without_detail(&name)));
        found.map(|(name, explanation)| (name.as_str(), explanation))
    }

    /// The known names that are most similar to this one, the most similar first; empty if none is similar.
    pub fn nearest(&self, asked: &str) -> Vec<&str> {
        nearest(&canonical(asked), self.0.keys().map(String::as_str))
    }

    /// The same among the known names and those of generic devlink traps.
    pub fn nearest_with_traps(&self, asked: &str) -> Vec<&str> {
        let names = self.0.keys().map(String::as_str);
        nearest(&canonical(asked), names.chain(generic_traps().map(|trap| trap as &str)))
    }

    /// The reasons that increase a kernel counter. The counter's name is as `nstat` and droptrace's backend `counters`
    /// spell it, with or without the file before it (`snmp:UdpRcvbufErrors`), in any case.
    pub fn moving(&self, counter: &str) -> Vec<&str> {
        let counter = counter.rsplit(':').next().unwrap_or(counter);
        let moves = |explanation: &Explanation| {
            explanation.counters.iter().chain(&explanation.unverified).any(|each| each.eq_ignore_ascii_case(counter))
        };
        self.iter().filter(|(_, explanation)| moves(explanation)).map(|(name, _)| name).collect()
    }

    /// All explanations, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Explanation)> {
        self.0.iter().map(|(name, explanation)| (name.as_str(), explanation))
    }
}

/// The names that are most similar to this one in capitals.
fn nearest<'n>(asked: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let distance = |name: &str| {
        let name = name.to_uppercase();
        // A part of a name, such as `RCVBUF`, is more similar than any mistyped name.
        if asked.len() >= 3 && name.contains(asked) { 0 } else { strsim::osa_distance(asked, &name) }
    };
    let mut near: Vec<_> = names.map(|name| (distance(name), name)).collect();
    near.retain(|&(distance, name)| distance <= name.len().min(asked.len()) / 2);
    near.sort_unstable();
    near.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

fn canonical(asked: &str) -> String {
    let asked = asked.trim();
    // The text before a colon is the subsystem, which is one word, or a name of several words.
    let name = asked.split_once(':').filter(|(before, _)| !before.contains(' ')).map_or(asked, |(_, name)| name);
    let name = name.to_uppercase();
    name.strip_prefix(PREFIX).map_or_else(|| name.clone(), str::to_owned)
}

/// The name without the number of an action or the error of a redirect.
fn without_detail(name: &str) -> &str {
    let (name, _) = name.split_once(": ").unwrap_or((name, ""));
    name.trim_end_matches(|digit: char| digit.is_ascii_digit()).trim_end()
}
