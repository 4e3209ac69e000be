//! Colours and weights, with restraint.

use std::fmt;

/// The emphasis of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// No emphasis.
    Plain,
    /// The head of a table or a section.
    Heading,
    /// Less important text.
    Faint,
    /// A problem that may be harmless.
    Warning,
    /// Text that needs attention.
    Alarm,
    /// A drop that healthy hosts do not have.
    Fault,
}

impl Style {
    /// Parameters of the escape sequence "select graphic rendition" (ECMA-48).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Faint => "2",
            Self::Warning => "33",
            Self::Alarm => "1;31",
            Self::Fault => "31",
        }
    }
}

/// Text in a style, or without it if `color` is off. Escape sequences do not count as width of a padded column.
pub struct Painted<T> {
    /// The text.
    pub text: T,
    /// Its style.
    pub style: Style,
    /// Whether the style is used.
    pub color: bool,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.color || self.style == Style::Plain {
            return self.text.fmt(f);
        }
        write!(f, "\x1b[{}m", self.style.code())?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}
