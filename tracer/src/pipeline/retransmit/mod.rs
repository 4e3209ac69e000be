//! Joins retransmissions of TCP with the drops of the same bytes on this host.

mod join;
#[cfg(test)]
mod join_tests;
mod range;
mod segment;

pub use join::{Counts, Join, OfPlace, Place, SentAgain};
pub use range::Range;
pub use segment::{Tuple, dropped, retransmitted};
