//! Explanations for people. Sentences wrap at the given width in columns; commands do not, so that they can be copied.

use std::io::{self, Write};

use textwrap::Options;

use super::{Explanation, Explanations};

/// Narrower text is unreadable: the terminal then wraps longer lines.
pub(super) const NARROWEST: usize = 40;

/// Wider lines are hard to read.
pub(super) const WIDEST: usize = 100;

/// Writes the explanation of a reason.
pub fn write_text(out: &mut impl Write, name: &str, explanation: &Explanation, width: usize) -> io::Result<()> {
    let width = width.clamp(NARROWEST, WIDEST);
    writeln!(out, "{name} ({})", explanation.subsystem)?;
    wrapped(out, &explanation.meaning, width, "")?;
    writeln!(out, "\nUsual: {}", explanation.usual.name())?;
    wrapped(out, &explanation.because, width, "  ")?;
    for (title, counters) in [
        ("Counters that rise with it", &explanation.counters),
        ("Counters that may rise with it (not verified)", &explanation.unverified),
    ] {
        if !counters.is_empty() {
            writeln!(out, "\n{title}")?;
            wrapped(out, &counters.join(", "), width, "  ")?;
        }
    }
    writeln!(out, "\nCommon causes")?;
    for cause in &explanation.causes {
        let options = Options::new(width).initial_indent("  * ").subsequent_indent("    ");
        writeln!(out, "{}", textwrap::fill(cause, options))?;
    }
    writeln!(out, "\nWhat to run next")?;
    explanation.next.iter().try_for_each(|command| writeln!(out, "  {command}"))
}

pub(super) fn wrapped(out: &mut impl Write, text: &str, width: usize, indent: &str) -> io::Result<()> {
    writeln!(out, "{}", textwrap::fill(text, Options::new(width).initial_indent(indent).subsequent_indent(indent)))
}

/// Writes the names of all reasons with their meanings: one line each, cut to the width.
pub fn write_list(out: &mut impl Write, explanations: &Explanations, width: usize) -> io::Result<()> {
    let widest = explanations.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, explanation) in explanations.iter() {
        let room = width.saturating_sub(widest + 2).max(NARROWEST / 2);
        writeln!(out, "{name:<widest$}  {}", first_words(&explanation.meaning, room))?;
    }
    Ok(())
}

/// The first sentence, or as much of it as fits.
pub(super) fn first_words(text: &str, room: usize) -> String {
    let sentence = text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.');
    if sentence.chars().count() <= room {
        return sentence.to_owned();
    }
    let lines = textwrap::wrap(sentence, room.saturating_sub(2));
    lines.first().map(|line| format!("{line} …")).unwrap_or_default()
}
