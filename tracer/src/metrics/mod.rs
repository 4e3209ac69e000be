//! The agent's figures: what each reading of the totals becomes, scraped or pushed.

pub mod collect;
pub mod figures;
pub mod http;
mod ledger;
pub mod openmetrics;
#[cfg(feature = "otlp")]
pub mod otlp;
mod place;
mod process;
pub mod series;
pub mod web_config;
