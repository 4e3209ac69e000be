//! Accounts for every packet that Linux drops: where, why, how many, and how sure.
//!
//! Data flows up this list: [`event`] and [`ledger`] are the domain, [`packet`] decodes what was dropped, [`report`] is
//! what sinks are given, [`sink`] shows it, [`cli`] reads what was typed and says where results go.

pub mod cli;
pub mod event;
pub mod ledger;
pub mod packet;
pub mod report;
pub mod sink;
