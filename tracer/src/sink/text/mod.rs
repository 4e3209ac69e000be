//! Text for people.

mod compare;
mod ledger;
mod outside;
mod owner;
mod packet;
mod reconcile;
mod retransmit;
mod sentence;
mod stacks;
mod stat;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub use compare::CompareText;
#[cfg(feature = "top")]
pub(crate) use ledger::LedgerLine;
pub(super) use owner::OwnedBy;
pub use reconcile::ReconcileText;
pub use sentence::{drop_sentence, packet_sentence};
#[cfg(feature = "top")]
pub(crate) use stat::verdict;
pub use stat::{Recorded, StatOptions, StatText};
pub(super) use trace::interface_of;
pub(crate) use trace::ledger_lines;
pub use trace::{TraceText, TraceTextOptions};
