//! Joins retransmissions of TCP with the drops of the same bytes on this host.

mod join;
#[cfg(test)]
mod join_tests;
mod range;
mod segment;

pub(crate) use join::{Counts, Join, SentAgain, SiteCounts, SiteReason};
pub(crate) use range::Range;
pub(crate) use segment::retransmitted;
pub(crate) use segment::{Tuple, dropped};
