//! Colours and weights, with restraint.

use std::fmt;

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Not at all.
    Plain,
    /// The head of a table or a part.
    Heading,
    /// What may be passed over.
    Faint,
    /// A drop reason.
    Reason,
    /// What needs somebody's attention.
    Alarm,
}

impl Style {
    /// Parameters of the escape sequence "select graphic rendition" (ECMA-48).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Faint => "2",
            Self::Reason => "33",
            Self::Alarm => "1;31",
        }
    }
}

/// Text in a style, or without it when `color` is off. Escapes take no room of a padded column.
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
