//! Colours and weights, with restraint.

use std::fmt;

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Heading,
    Faint,
    Reason,
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
pub(crate) struct Painted<T> {
    pub(crate) text: T,
    pub(crate) style: Style,
    pub(crate) color: bool,
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
