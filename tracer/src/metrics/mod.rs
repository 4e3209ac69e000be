//! The agent's metrics, from a reading of the totals to scrapes and pushes.

pub(crate) mod collect;
pub(crate) mod http;
pub(crate) mod label_set;
mod labels;
mod ledger;
pub(crate) mod model;
pub(crate) mod openmetrics;
#[cfg(feature = "otlp")]
pub(crate) mod otlp;
mod outside;
mod owners;
mod process;
pub(crate) mod series;
pub(crate) mod web_config;
