//! From what sources yield to what sinks show.

pub mod normalise;
