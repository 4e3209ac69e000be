//! Call stacks in JSON.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::symbol_of;
use crate::dimension;
use crate::domain::event::{DropEvent, Location, reason_name};
use crate::domain::hook::{NetfilterHook, netfilter_hook};
use crate::domain::stack::{SampledStack, SampledStacks};

/// A list of drop sites as text, the innermost function first.
pub(super) struct Stack<'e>(&'e [Arc<Location>]);

/// The sampled stacks of a drop site and reason.
#[derive(Serialize)]
pub(super) struct StacksRow<'r> {
    reason: Option<&'r str>,
    subsystem: Option<&'r str>,
    symbol: Option<&'r str>,
    offset: Option<u64>,
    module: Option<&'r str>,
    drops: u64,
    sampled: u64,
    stacks: Vec<WithSamples<'r>>,
}

#[derive(Serialize)]
struct WithSamples<'r> {
    functions: Stack<'r>,
    samples: u64,
    netfilter_hook: Option<NetfilterHook>,
}

impl<'r> From<&'r SampledStacks> for StacksRow<'r> {
    fn from(site: &'r SampledStacks) -> Self {
        let reason = reason_name(&site.reason);
        let (symbol, offset, module) = symbol_of(&site.location);
        let stack = |stack: &'r SampledStack| WithSamples {
            functions: Stack(&stack.functions),
            samples: stack.samples,
            netfilter_hook: netfilter_hook(&stack.functions),
        };
        Self {
            reason,
            subsystem: reason.map(|_| &*site.reason.subsystem),
            symbol,
            offset,
            module,
            drops: site.drops,
            sampled: site.sampled,
            stacks: site.stacks.iter().map(stack).collect(),
        }
    }
}

impl<'e> Stack<'e> {
    /// The event's call stack, if it is known.
    pub(super) fn of(event: &DropEvent<'e>) -> Option<Self> {
        (!event.stack.is_empty()).then_some(Self(event.stack))
    }
}

impl Serialize for Stack<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|location| dimension::site(location, usize::MAX)))
    }
}
