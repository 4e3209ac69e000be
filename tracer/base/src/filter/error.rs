//! Why a text is no filter.

use std::fmt;

/// Characters of the text that a message shows on each side of the error.
const SHOWN: usize = 60;

/// The error in a filter: where it is, what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The position in the text, in bytes from its start.
    pub offset: usize,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What would be right, if that is known: a whole phrase.
    pub remedy: Option<String>,
    /// The part of the text around the error, in one line.
    excerpt: String,
    /// Characters of the excerpt before the error.
    column: usize,
}

impl FilterError {
    pub(super) fn new(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before: Vec<char> = text[..offset].chars().rev().take(SHOWN).collect();
        let shown = before.iter().rev().copied().chain(text[offset..].chars().take(SHOWN));
        // The caret stands below the error only if each character takes one column.
        let excerpt = shown.map(|c| if c.is_ascii_graphic() { c } else { plain(c) }).collect();
        Self { offset, message: message.into(), remedy: None, excerpt, column: before.len() }
    }

    pub(super) fn with(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// A blank for white space, a question mark for what a terminal may show in any way.
fn plain(c: char) -> char {
    if c.is_whitespace() { ' ' } else { '?' }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, remedy, excerpt, column, .. } = self;
        f.write_str(message)?;
        if !excerpt.is_empty() {
            write!(f, "\n  {excerpt}\n  {:column$}^", "")?;
        }
        remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "\n{remedy}"))
    }
}

impl std::error::Error for FilterError {}
