//! Text for people.

mod compare;
mod fit;
mod ledger;
mod number;
mod packet;
mod paint;
mod sentence;
mod stat;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub(crate) use crate::outside::printable;
pub use compare::CompareText;
pub(crate) use number::{Grouped, rate};
pub(crate) use paint::{Painted, Style};
pub(crate) use sentence::drop_sentence;
pub use stat::{StatText, StatTextOptions};
pub use trace::{TraceText, TraceTextOptions};

/// How much room there is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows; none where there is no end of them.
    pub height: Option<usize>,
}
