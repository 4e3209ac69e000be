//! The steps between the backends and the sinks.

pub mod account;
pub(crate) mod bracket;
pub mod dedupe;
#[cfg(feature = "agent")]
pub(crate) mod delta;
pub(crate) mod group;
pub(crate) mod material;
pub mod normalise;
pub(crate) mod past;
pub(crate) mod reconcile;
pub(crate) mod refused;
pub(crate) mod retransmit;
pub(crate) mod stacks;
pub(crate) mod tally;
pub mod union;
