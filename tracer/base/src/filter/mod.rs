//! Filters: which drops to report. One language for all commands.

pub mod code;
pub mod question;
