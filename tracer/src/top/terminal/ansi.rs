//! Writes the cells of the screen as escape sequences (ECMA-48).

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};

/// The size of a terminal that does not report its own.
const DEFAULT_SIZE: Size = Size { width: 80, height: 24 };

/// A terminal that understands the escape sequences of xterm.
pub(super) struct Ansi {
    file: File,
    /// What the next flush writes at once.
    text: String,
}

impl Ansi {
    pub(super) const fn new(file: File) -> Self {
        Self { file, text: String::new() }
    }

    /// Puts a text on the clipboard (OSC 52 of xterm's control sequences). Base64 keeps whatever it has from the terminal.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        _ = write!(self.text, "\x1b]52;c;{}\x1b\\", BASE64_STANDARD.encode(text));
        self.flush()
    }

    fn style(&mut self, color: Color, modifier: Modifier) {
        self.text.push_str("\x1b[0");
        for (flag, code) in [(Modifier::BOLD, 1), (Modifier::DIM, 2), (Modifier::REVERSED, 7)] {
            if modifier.contains(flag) {
                _ = write!(self.text, ";{code}");
            }
        }
        match color {
            Color::Red => self.text.push_str(";31"),
            Color::Yellow => self.text.push_str(";33"),
            _ => {}
        }
        self.text.push('m');
    }
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'c, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'c Cell)>,
    {
        let (mut next, mut style) = (None, None);
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                _ = write!(self.text, "\x1b[{};{}H", y + 1, x + 1);
            }
            let wanted = (cell.fg, cell.modifier);
            if style != Some(wanted) {
                self.style(wanted.0, wanted.1);
                style = Some(wanted);
            }
            self.text.push_str(cell.symbol());
            // After a wide character, terminals may disagree on the position.
            next = cell.symbol().is_ascii().then_some((x + 1, y));
        }
        self.text.push_str("\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.text.push_str("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.text.push_str("\x1b[?25h");
        Ok(())
    }

    /// The screen has no cursor, so that its position is never asked for.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        _ = write!(self.text, "\x1b[{};{}H", y + 1, x + 1);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.text.push_str("\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.text.push_str(match region {
            ClearType::All => "\x1b[2J",
            ClearType::AfterCursor => "\x1b[J",
            ClearType::BeforeCursor => "\x1b[1J",
            ClearType::CurrentLine => "\x1b[2K",
            ClearType::UntilNewLine => "\x1b[K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let size = rustix::termios::tcgetwinsize(&self.file)?;
        let is_known = size.ws_col > 0 && size.ws_row > 0;
        Ok(if is_known { Size { width: size.ws_col, height: size.ws_row } } else { DEFAULT_SIZE })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(self.text.as_bytes());
        self.text.clear();
        written
    }
}
