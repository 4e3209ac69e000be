//! A choice of dimensions.

use std::fmt;
use std::str::FromStr;

use super::{ALL, Dimension, Members};
use crate::domain::event::NamedKey;

/// Some dimensions, in the order of [`ALL`].
#[derive(Clone)]
pub struct Dimensions(Vec<&'static dyn Dimension>);

impl Dimensions {
    /// All dimensions.
    pub fn all() -> Self {
        Self(ALL.to_vec())
    }

    /// The dimensions of a single drop's key: all except those of flows, because the drop has its packet.
    pub fn of_drops() -> Self {
        Self(ALL.into_iter().filter(|dimension| dimension.flow_fact() == 0).collect())
    }

    /// The dimensions that need not be asked for: all except those that say whose packets were dropped, and of which
    /// connections.
    pub fn usual() -> Self {
        let is_usual = |dimension: &&dyn Dimension| !dimension.column().is_attribution && dimension.flow_fact() == 0;
        Self(ALL.into_iter().filter(is_usual).collect())
    }

    /// Reads `pod,container`: dimensions that say whose packets were dropped.
    ///
    /// # Errors
    /// Fails if a word is not such a dimension.
    pub fn owners(text: &str) -> Result<Self, String> {
        let is_owner = |dimension: &&dyn Dimension| dimension.column().is_attribution;
        let owners = Self(ALL.into_iter().filter(is_owner).collect());
        owners.choose(text, "is not one of these owners:")
    }

    /// Those of the dimensions that a text names. `complaint` stands between a wrong word and the right ones.
    fn choose(&self, text: &str, complaint: &str) -> Result<Self, String> {
        let names: Vec<&str> = text.split(',').map(str::trim).flat_map(members_of).collect();
        if let Some(unknown) = names.iter().find(|name| !self.contains(name)) {
            let known: Vec<_> = self.iter().map(Dimension::name).collect();
            return Err(format!("{unknown:?} {complaint} {}", known.join(", ")));
        }
        Ok(Self::named(&names))
    }

    /// These dimensions and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        let is_one = |dimension: &&dyn Dimension| self.contains(dimension.name()) || others.contains(dimension.name());
        Self(ALL.into_iter().filter(is_one).collect())
    }

    /// The dimensions.
    pub fn iter(&self) -> impl Iterator<Item = &'static dyn Dimension> + Clone {
        self.0.iter().copied()
    }

    /// The dimensions with these names.
    pub fn named(names: &[&str]) -> Self {
        Self(ALL.into_iter().filter(|dimension| names.contains(&dimension.name())).collect())
    }

    /// The members of JSON objects that a key has in these dimensions.
    pub fn members<'k>(&self, key: &'k NamedKey) -> Members<'k> {
        let mut members = Members::default();
        for dimension in self.iter() {
            dimension.members(key, &mut members);
        }
        if self.flow_facts() != 0 {
            members.add("is_other_flows", key.flow.as_ref().map(|flow| flow.is_others));
        }
        members
    }

    /// The key without its values in other dimensions.
    pub fn reduce(&self, key: &NamedKey) -> NamedKey {
        let mut reduced = key.clone();
        for dimension in ALL.iter().filter(|dimension| !self.contains(dimension.name())) {
            dimension.clear(&mut reduced);
        }
        if self.flow_facts() == 0 {
            reduced.flow = None;
        }
        reduced
    }

    /// Whether a dimension is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|dimension| dimension.name() == name)
    }

    /// Whether one of them says whose packet it was.
    pub fn has_attribution(&self) -> bool {
        self.iter().any(|dimension| dimension.column().is_attribution)
    }

    /// The facts of flows that they show: bits of `tracer_common::Config::flows`.
    pub fn flow_facts(&self) -> u32 {
        self.iter().fold(0, |facts, dimension| facts | dimension.flow_fact())
    }
}

impl PartialEq for Dimensions {
    fn eq(&self, other: &Self) -> bool {
        self.iter().map(Dimension::name).eq(other.iter().map(Dimension::name))
    }
}

impl Eq for Dimensions {}

impl fmt::Debug for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Dimension::name)).finish()
    }
}

/// Reads `reason,netns`.
impl FromStr for Dimensions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().choose(text, "is not a dimension; the dimensions are flow,")
    }
}

/// The dimensions that a word stands for: `flow` for those of a connection, all other words for themselves.
fn members_of(word: &str) -> Vec<&str> {
    if word == "flow" { vec!["src", "sport", "dst", "dport", "transport"] } else { vec![word] }
}
