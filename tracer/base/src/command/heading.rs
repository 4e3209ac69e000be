//! The headings of options in the help.

/// Which drops count.
pub const FILTER: &str = "Filter";
/// What the rows are.
pub const GROUP: &str = "Group";
/// How the results look, and where they go.
pub const OUTPUT: &str = "Output";
/// The length and the end of a run.
pub const RUN: &str = "Run";
/// A time that is over.
pub const PAST: &str = "The past";
/// Where the drops come from.
pub const BACKEND: &str = "Backend";
/// What few runs need.
pub const ADVANCED: &str = "Advanced";
