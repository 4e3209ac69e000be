//! Shows a report: text for people, a page with plots.

mod html;
#[cfg(test)]
pub(in crate::fleet) mod samples;
mod text;
mod words;

pub use html::write_html;
pub use text::{TextOptions, write_text};
