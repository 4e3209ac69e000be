//! Keys: the bytes that a terminal sends for them, and what they do.

use std::collections::VecDeque;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A character.
    Char(char),
    /// A character with Ctrl.
    Control(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Enter.
    Enter,
    /// Esc.
    Escape,
    /// Backspace.
    Backspace,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Moves by so many rows.
    Move(isize),
    /// Moves by so many pages.
    Page(isize),
    /// Moves to the first row.
    First,
    /// Moves to the last row.
    Last,
    /// Opens the row, or ends the typing of a filter.
    Open,
    /// Closes what is open.
    Back,
    /// Shows the keys.
    Help,
    /// Starts the typing of a filter.
    Filter,
    /// Orders the rows in another way.
    Sort,
    /// Groups the drops in another way.
    Group,
    /// Hides the drops of usual reasons, or shows them.
    Usual,
    /// Keeps the screen as it is, or lets it go on.
    Freeze,
    /// Counts from now on.
    Reset,
    /// Shows the command that shows the drops of the row.
    Command,
    /// Shows the command that writes the next packets of the row to a file.
    Capture,
    /// Types a character.
    Type(char),
    /// Takes back a character.
    Erase,
    /// Takes back all characters.
    EraseAll,
    /// Draws the whole screen again.
    Redraw,
    /// Stops the process until it is continued.
    Suspend,
    /// Ends the run.
    Quit,
}

/// What a key does; absent where it does nothing. `is_typing`: characters belong to a text.
pub(crate) const fn action(key: Key, is_typing: bool) -> Option<Action> {
    Some(match key {
        Key::Control('c') => Action::Quit,
        Key::Control('z') => Action::Suspend,
        Key::Control('l') => Action::Redraw,
        Key::Control('u') if is_typing => Action::EraseAll,
        Key::Char(c) if is_typing => Action::Type(c),
        Key::Backspace if is_typing => Action::Erase,
        Key::Enter => Action::Open,
        Key::Escape | Key::Backspace => Action::Back,
        Key::Up | Key::Char('k') | Key::Control('p') => Action::Move(-1),
        Key::Down | Key::Char('j') | Key::Control('n') => Action::Move(1),
        Key::PageUp | Key::Control('b') => Action::Page(-1),
        Key::PageDown | Key::Control('f') => Action::Page(1),
        Key::Home => Action::First,
        Key::End | Key::Char('G') => Action::Last,
        Key::Char(c) => return of_character(c),
        Key::Control(_) => return None,
    })
}

const fn of_character(c: char) -> Option<Action> {
    Some(match c {
        '?' | 'h' => Action::Help,
        '/' => Action::Filter,
        's' => Action::Sort,
        'g' => Action::Group,
        'x' => Action::Usual,
        ' ' => Action::Freeze,
        'r' => Action::Reset,
        'c' => Action::Command,
        'w' => Action::Capture,
        'q' => Action::Quit,
        _ => return None,
    })
}

/// Reads keys from the bytes of a terminal.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    bytes: VecDeque<u8>,
}

/// Most bytes of a sequence that is not complete: longer ones are no keys.
const LONGEST: usize = 16;

impl Parser {
    /// Takes bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Whether there is the start of a sequence, which may be a key by itself if no more bytes come.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next key. `no_more`: the bytes so far are all of it.
    pub(crate) fn next(&mut self, no_more: bool) -> Option<Key> {
        loop {
            let bytes = self.bytes.make_contiguous();
            let (taken, key) = match parse(bytes) {
                Parsed::Key(taken, key) => (taken, Some(key)),
                Parsed::Nothing(taken) => (taken, None),
                Parsed::Incomplete if bytes.is_empty() || !(no_more || bytes.len() > LONGEST) => return None,
                Parsed::Incomplete => (if bytes[0] == ESCAPE { 1 } else { bytes.len() }, Some(Key::Escape)),
            };
            self.bytes.drain(..taken);
            if key.is_some() {
                return key;
            }
        }
    }
}

const ESCAPE: u8 = 0x1b;

enum Parsed {
    /// A key of so many bytes.
    Key(usize, Key),
    /// So many bytes that are no key.
    Nothing(usize),
    Incomplete,
}

fn parse(bytes: &[u8]) -> Parsed {
    match bytes {
        [] | [ESCAPE] | [ESCAPE, b'[' | b'O'] => Parsed::Incomplete,
        [ESCAPE, b'[', rest @ ..] => sequence(rest),
        [ESCAPE, b'O', last, ..] => of_last(*last).map_or(Parsed::Nothing(3), |key| Parsed::Key(3, key)),
        [ESCAPE, ..] => Parsed::Key(1, Key::Escape),
        [b'\r' | b'\n', ..] => Parsed::Key(1, Key::Enter),
        [0x7f | 0x08, ..] => Parsed::Key(1, Key::Backspace),
        [control @ 1..=26, ..] => Parsed::Key(1, Key::Control(char::from(control - 1 + b'a'))),
        [0..=0x1f, ..] => Parsed::Nothing(1),
        _ => character(bytes),
    }
}

/// A control sequence (ECMA-48): parameters and a last byte, which names the key; of `~`, the first parameter does.
fn sequence(rest: &[u8]) -> Parsed {
    let Some(end) = rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) else { return Parsed::Incomplete };
    let key = match (rest[end], rest[..end].split(|byte| *byte == b';').next()) {
        (b'~', Some(b"1" | b"7")) => Some(Key::Home),
        (b'~', Some(b"4" | b"8")) => Some(Key::End),
        (b'~', Some(b"5")) => Some(Key::PageUp),
        (b'~', Some(b"6")) => Some(Key::PageDown),
        (last, _) => of_last(last),
    };
    key.map_or(Parsed::Nothing(end + 3), |key| Parsed::Key(end + 3, key))
}

const fn of_last(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'F' => Key::End,
        b'H' => Key::Home,
        b'M' => Key::Enter,
        _ => return None,
    })
}

fn character(bytes: &[u8]) -> Parsed {
    let length = match bytes[0] {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Parsed::Nothing(1),
    };
    let Some(text) = bytes.get(..length) else { return Parsed::Incomplete };
    match str::from_utf8(text).ok().and_then(|text| text.chars().next()) {
        Some(c) => Parsed::Key(length, Key::Char(c)),
        None => Parsed::Nothing(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut parser = Parser::default();
        parser.push(bytes);
        std::iter::from_fn(|| parser.next(true)).collect()
    }

    #[test]
    fn sequences_of_terminals_are_keys() {
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6;2~\x1b[H\x1bOF\x1b[1~\x1b[4~"),
            [Key::Up, Key::Down, Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Home, Key::End]
        );
        assert_eq!(
            keys("jä\r\x7f\x03\x1a".as_bytes()),
            [Key::Char('j'), Key::Char('ä'), Key::Enter, Key::Backspace, Key::Control('c'), Key::Control('z')]
        );
        assert_eq!(keys(b"\x1b[15~\x1b[Zq"), [Key::Char('q')], "unknown keys do nothing");
        assert_eq!(keys(b"\xff\x00q"), [Key::Char('q')], "bytes that are no text");
    }

    #[test]
    fn sequence_may_come_in_pieces_and_escape_alone() {
        let mut parser = Parser::default();
        for byte in b"\x1b[5" {
            parser.push(&[*byte]);
            assert_eq!((parser.next(false), parser.is_waiting()), (None, true));
        }
        parser.push(b"~");
        assert_eq!((parser.next(false), parser.is_waiting()), (Some(Key::PageUp), false));
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Escape, Key::Up]);
        parser.push(&[b"\x1b[".as_slice(), &[b'1'; 100]].concat());
        assert_eq!(parser.next(false), Some(Key::Escape), "no sequence is so long");
    }

    #[test]
    fn characters_are_commands_unless_they_are_typed() {
        assert_eq!(action(Key::Char('q'), false), Some(Action::Quit));
        assert_eq!(action(Key::Char('q'), true), Some(Action::Type('q')));
        assert_eq!(action(Key::Control('c'), true), Some(Action::Quit));
        assert_eq!(action(Key::Backspace, true), Some(Action::Erase));
        assert_eq!(action(Key::Char('Z'), false), None);
    }
}
