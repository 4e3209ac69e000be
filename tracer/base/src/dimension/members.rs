//! Members of JSON objects.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::domain::owner::Process;

/// The value of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value<'k> {
    /// A text.
    Text(Cow<'k, str>),
    /// A number below 2^53, which JSON's readers hold exactly.
    Number(u64),
    /// A truth.
    Truth(bool),
    /// A process.
    Process(Process),
}

impl<'k> From<&'k str> for Value<'k> {
    fn from(text: &'k str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Process> for Value<'_> {
    fn from(process: Process) -> Self {
        Self::Process(process)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

/// A member: its name, and its value, which is null where it is absent.
pub type Member<'k> = (&'static str, Option<Value<'k>>);

/// The members of an object, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members<'k>(pub Vec<Member<'k>>);

impl<'k> Members<'k> {
    /// Adds a member.
    pub fn add<V: Into<Value<'k>>>(&mut self, name: &'static str, value: Option<V>) {
        self.0.push((name, value.map(Into::into)));
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// As [`nonzero`], of 64 bits.
pub(crate) const fn nonzero64(number: u64) -> Option<u64> {
    if number == 0 { None } else { Some(number) }
}

/// The kernel's number; absent where 0 means that there is none.
pub const fn nonzero(number: u32) -> Option<u32> {
    if number == 0 { None } else { Some(number) }
}
