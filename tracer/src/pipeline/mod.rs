//! From what sources yield to what sinks show.

pub mod account;
pub mod compare;
pub mod dedupe;
pub mod normalise;
pub mod tally;
pub mod union;
