//! The agent's figures: what each reading of the totals becomes, scraped or pushed.

pub mod figures;
pub mod otlp;
