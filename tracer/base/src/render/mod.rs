//! How numbers, times, tables and plots look, and where output goes: for both binaries.

pub mod fit;
#[cfg(feature = "html")]
pub mod html;
pub mod number;
pub mod output;
pub mod paint;
#[cfg(feature = "html")]
pub mod plot;
pub mod rank;
pub mod time;
pub mod units;

/// How much room there is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows; none where there is no end of them.
    pub height: Option<usize>,
}
