//! The steps between the backends and the sinks.

pub mod account;
pub mod bracket;
pub mod dedupe;
pub mod group;
pub mod material;
pub mod normalise;
pub mod reconcile;
pub mod retransmit;
pub mod stacks;
pub mod tally;
pub mod union;
