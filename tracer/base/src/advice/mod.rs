//! What fits a row of drops: the values that go into the commands of its explanation (`values`), and the filter that
//! selects its drops (`selection`).

mod selection;
mod values;

pub use selection::{Selection, capture_command, command, filter_of};
pub(crate) use values::Terms;
pub use values::{entrance_of_text, values_of};
