//! From what sources yield to what sinks show.

pub mod account;
pub mod dedupe;
pub mod material;
pub mod normalise;
pub mod tally;
pub mod union;
