//! Shows a report: text for people, a page with plots.

mod html;
#[cfg(test)]
pub(crate) mod samples;
mod text;
mod words;

pub use html::write_html;
pub use text::{TextOptions, write_text};
