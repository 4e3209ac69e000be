//! Accounts for every packet that Linux drops: where, why, how many, and how sure.
//!
//! Data flows up this list: [`kernel`] is what the running kernel tells, [`event`] and [`ledger`] are the domain,
//! [`report`] is what sinks are given.

pub mod event;
pub mod kernel;
pub mod ledger;
pub mod report;
pub mod source;
