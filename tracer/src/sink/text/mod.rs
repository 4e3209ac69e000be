//! Text for people.

mod clock;
mod compare;
mod ledger;
mod outside;
mod owner;
mod packet;
mod past;
mod reconcile;
mod refused;
mod retransmit;
mod sentence;
mod sentences;
mod stacks;
mod stat;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub(crate) use clock::local_zone;
pub(crate) use compare::CompareText;
#[cfg(feature = "top")]
pub(crate) use ledger::LedgerLine;
pub(super) use owner::OwnedBy;
pub(crate) use past::lines as history_lines;
#[cfg(feature = "top")]
pub(crate) use past::local_span;
pub(crate) use reconcile::ReconcileText;
#[cfg(feature = "otlp")]
pub(crate) use sentence::drop_sentence;
pub(crate) use sentence::packet_sentence;
pub use sentences::Recorded;
pub use stat::StatOptions;
pub(crate) use stat::StatText;
#[cfg(any(feature = "html", feature = "top"))]
pub(crate) use stat::verdict;
pub(super) use trace::interface_of;
pub(crate) use trace::ledger_lines;
pub use trace::{TraceText, TraceTextOptions};
