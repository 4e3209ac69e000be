//! A call stack in JSON.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::dimension;
use crate::domain::event::{DropEvent, Location};

/// A list of drop sites as text, the innermost function first.
pub(super) struct Stack<'e>(&'e [Arc<Location>]);

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
