//! Plain data and arithmetic, without input or output: a drop, its drop site and reason, the ledger of what was seen and
//! kept, the comparison of two backends.

pub mod attribution;
pub mod bracket;
pub mod compare;
pub mod dedupe;
pub mod event;
pub mod facts;
pub mod flow;
pub mod flow_ledger;
pub mod hook;
pub mod identity;
pub mod ledger;
pub mod owner;
pub mod past;
pub mod reconciliation;
pub mod refused;
pub mod report;
pub mod retransmit;
pub mod stack;
pub mod total;
pub mod transport;
pub mod unavailable;
