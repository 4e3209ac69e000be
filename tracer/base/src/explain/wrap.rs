//! The width of explanations.

use std::io::{self, Write};

use textwrap::Options;

/// Narrower text is unreadable: the terminal then wraps longer lines.
pub(super) const NARROWEST: usize = 40;

/// Wider lines are hard to read.
pub(super) const WIDEST: usize = 100;

/// Writes a paragraph.
pub(super) fn wrapped(out: &mut impl Write, text: &str, width: usize, indent: &str) -> io::Result<()> {
    writeln!(out, "{}", textwrap::fill(text, Options::new(width).initial_indent(indent).subsequent_indent(indent)))
}
