//! Shows a report: text for people, a page with plots.

mod html;
#[cfg(test)]
pub(crate) mod samples;
mod text;
mod words;

pub(crate) use html::write_html;
pub(crate) use text::{TextOptions, write_text};
