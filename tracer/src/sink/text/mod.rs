//! Text for people.

mod compare;
mod ledger;
mod outside;
mod owner;
mod packet;
mod reconcile;
mod sentence;
mod stacks;
mod stat;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub use compare::CompareText;
pub use reconcile::ReconcileText;
pub use sentence::{drop_sentence, packet_sentence};
pub use stat::{Recorded, StatOptions, StatText};
pub use trace::{TraceText, TraceTextOptions};
