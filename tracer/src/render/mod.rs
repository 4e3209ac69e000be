//! How numbers, times, tables and plots look, and where output goes: for both binaries.

pub(crate) mod fit;
pub(crate) mod html;
pub(crate) mod number;
pub mod output;
pub(crate) mod paint;
pub(crate) mod plot;
pub mod rank;
pub(crate) mod time;
pub mod units;

/// How much room there is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows; none where there is no end of them.
    pub height: Option<usize>,
}
