//! The agent's metrics, from a reading of the totals to scrapes and pushes.

pub mod collect;
pub mod figures;
pub mod http;
pub mod label_set;
mod labels;
mod ledger;
pub mod openmetrics;
#[cfg(feature = "otlp")]
pub mod otlp;
mod outside;
mod owners;
mod process;
pub mod series;
pub mod web_config;
