//! The agent's figures: what each reading of the totals becomes, scraped or pushed.

pub mod collect;
pub mod figures;
mod ledger;
pub mod otlp;
mod place;
mod process;
pub mod series;
