//! Formats numbers, times, tables and plots, and opens outputs, for both programs.

pub mod fit;
#[cfg(feature = "html")]
pub mod html;
pub mod number;
pub mod output;
pub mod paint;
pub mod rank;
pub mod time;
pub mod units;

/// The available space, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows; `None` without a limit.
    pub height: Option<usize>,
}
