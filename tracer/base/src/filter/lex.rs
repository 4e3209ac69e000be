//! Reads words and signs. The parser says which kind it expects: an address contains signs that are operators elsewhere.

use super::error::FilterError;

/// Signs, the longer ones first.
const SIGNS: [&str; 25] = [
    "&&", "||", "!=", "==", "<=", ">=", "<<", ">>", "(", ")", "[", "]", ":", "!", "=", "<", ">", "+", "-", "*", "/",
    "%", "&", "|", "^",
];

/// A position in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'t> {
    pub(super) text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Skips white space, and returns the position behind it.
    pub(super) fn position(&mut self) -> usize {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    /// Returns to an earlier position.
    pub(super) const fn back_to(&mut self, position: usize) {
        self.at = position;
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.position() == self.text.len()
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The next sign, without a step.
    pub(super) fn sign(&mut self) -> Option<&'static str> {
        self.position();
        let rest = self.rest();
        SIGNS.into_iter().find(|sign| rest.starts_with(sign))
    }

    /// Whether this character is next, which need not be a sign of the language.
    pub(super) fn has_next(&mut self, character: char) -> bool {
        self.position();
        self.rest().starts_with(character)
    }

    /// Steps over this sign if it is next.
    pub(super) fn takes(&mut self, sign: &str) -> bool {
        let is_next = self.sign() == Some(sign);
        if is_next {
            self.at += sign.len();
        }
        is_next
    }

    /// Steps over this word if it is next.
    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        let is_next = self.word() == word;
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// The next word of the language, number or address, without a step; empty if something else is next.
    pub(super) fn word(&mut self) -> &'t str {
        self.run(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c))
    }

    /// The next number or constant within arithmetic, without a step; empty if something else is next. A number ends
    /// before a minus, a name does not.
    pub(super) fn number(&mut self) -> &'t str {
        self.position();
        let is_name = self.rest().starts_with(|c: char| c.is_ascii_alphabetic());
        self.run(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-' && is_name)
    }

    /// The next word, if it has letters that no word of the language has.
    pub(super) fn foreign_word(&mut self) -> Option<&'t str> {
        self.position();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        Some(&rest[..end]).filter(|word| !word.is_ascii())
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        self.position();
        let rest = self.rest();
        let run = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        // A word starts with a letter or digit; an address may start with a colon.
        let starts_well = run.starts_with(|c: char| c.is_ascii_alphanumeric()) || run.starts_with("::");
        let run = if starts_well { run } else { "" };
        run.trim_end_matches(['-', '_'])
    }

    /// Steps over a word that [`Lexer::word`] or [`Lexer::number`] returned.
    pub(super) const fn skip(&mut self, word: &str) {
        self.at += word.len();
    }

    /// Takes a name: what stands between quotation marks, or all up to white space or a parenthesis. A backslash before
    /// it is ignored. Empty if there is none.
    pub(super) fn name(&mut self) -> Result<&'t str, FilterError> {
        let start = self.position();
        let rest = self.rest();
        if let Some(quote) = rest.chars().next().filter(|c| ['"', '\''].contains(c)) {
            let Some(end) = rest[1..].find(quote) else {
                return Err(FilterError::new(self.text, start, format!("no {quote} ends this name")));
            };
            self.at += end + 2;
            return Ok(&rest[1..=end]);
        }
        let end = rest.find(|c: char| c.is_whitespace() || "()".contains(c)).unwrap_or(rest.len());
        self.at += end;
        let name = &rest[..end];
        Ok(name.strip_prefix('\\').unwrap_or(name))
    }

    /// The position behind the parenthesis that closes the next one; absent if none does.
    pub(super) fn behind_parentheses(&mut self) -> Option<usize> {
        let (mut depth, mut quote) = (0_usize, None);
        let start = self.position();
        for (at, byte) in self.text.bytes().enumerate().skip(start) {
            match (byte, quote) {
                (_, Some(open)) if byte == open => quote = None,
                (b'"' | b'\'', None) => quote = Some(byte),
                (b'(', None) => depth += 1,
                (b')', None) => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(at + 1);
            }
        }
        None
    }
}
