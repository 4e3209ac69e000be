//! Styles. Without colours, only bold, faint and reversed text is left.

use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::{Line, Span};

use crate::render::fit::{padded, width};

/// Whether colours are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) color: bool,
}

impl Paint {
    fn with(self, color: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.color { style.fg(color) } else { style }
    }

    pub(super) fn alarm(self, text: String) -> Line<'static> {
        Line::styled(text, self.with(Color::Red, Modifier::BOLD))
    }

    /// The first line, with a state at its right end.
    pub(super) fn title(self, text: String, state: &str, room: usize) -> Line<'static> {
        let gap = " ".repeat(room.saturating_sub(width(&text) + width(state)));
        let strong = Style::new().add_modifier(Modifier::BOLD);
        let state = Span::styled(state.to_owned(), self.with(Color::Yellow, Modifier::BOLD | Modifier::REVERSED));
        Line::from(vec![Span::styled(text, strong), Span::raw(gap), state])
    }

    /// A row: its numbers, its first name, and its other names.
    pub(super) fn row(self, parts: [String; 3], is_active: bool, is_chosen: bool, room: usize) -> Line<'static> {
        let [numbers, first, mut rest] = parts;
        let taken = width(&numbers) + width(&first) + width(&rest);
        rest.push_str(&" ".repeat(room.saturating_sub(taken)));
        let mut base = Style::new();
        if !is_active {
            base = base.add_modifier(Modifier::DIM);
        }
        if is_chosen {
            base = base.add_modifier(Modifier::REVERSED);
        }
        let name = if is_active && !is_chosen && self.color { base.fg(Color::Yellow) } else { base };
        Line::from(vec![Span::styled(numbers, base), Span::styled(first, name), Span::styled(rest, base)])
    }
}

pub(super) fn plain(text: String) -> Line<'static> {
    Line::from(text)
}

pub(super) fn strong(text: String) -> Line<'static> {
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

pub(super) fn faint(text: String) -> Line<'static> {
    Line::styled(text, Style::new().add_modifier(Modifier::DIM))
}

/// A text that is typed, with a cursor.
pub(super) fn prompt(label: &'static str, text: &str) -> Line<'static> {
    let strong = Style::new().add_modifier(Modifier::BOLD);
    let cursor = Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED));
    Line::from(vec![Span::styled(label, strong), Span::raw(text.to_owned()), cursor])
}

/// The last line.
pub(super) fn keys(text: &str, room: usize) -> Line<'static> {
    Line::styled(format!("{text:<0$}", padded(text, room)), Style::new().add_modifier(Modifier::REVERSED))
}
