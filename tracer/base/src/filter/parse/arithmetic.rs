//! Numbers, and what compares them.

use super::{Arithmetic, Expression, Operation, Parsed, Parser, Relation, Size, Term, Test, names};
use crate::filter::run;

/// Operators between numbers, with their strength. They bind as in C, and `&` and `|` bind more than comparisons.
const OPERATORS: [(&str, u8, Operation); 10] = [
    ("|", 0, Operation::Or),
    ("^", 1, Operation::Xor),
    ("&", 2, Operation::And),
    ("<<", 3, Operation::ShiftLeft),
    (">>", 3, Operation::ShiftRight),
    ("+", 4, Operation::Add),
    ("-", 4, Operation::Subtract),
    ("*", 5, Operation::Multiply),
    ("/", 5, Operation::Divide),
    ("%", 5, Operation::Modulo),
];

const RELATIONS: [(&str, Relation); 7] = [
    ("=", Relation::Equal),
    ("==", Relation::Equal),
    ("!=", Relation::NotEqual),
    ("<", Relation::Less),
    ("<=", Relation::LessOrEqual),
    (">", Relation::Greater),
    (">=", Relation::GreaterOrEqual),
];

/// Whether a sign connects two numbers.
pub(super) fn is_operator(sign: Option<&str>) -> bool {
    let Some(sign) = sign else { return false };
    OPERATORS.iter().any(|(known, ..)| *known == sign) || RELATIONS.iter().any(|(known, _)| *known == sign)
}

/// A number as in C: decimal, hexadecimal with 0x, octal with 0. Absent if it is none, or needs more than 32 bits.
pub(super) fn number(word: &str) -> Option<u32> {
    if !word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    let radix = if word.len() > 1 && word.starts_with('0') { 8 } else { 10 };
    u32::from_str_radix(word, radix).ok()
}

/// Whether a word is a number with something subtracted.
pub(super) fn hides_an_operator(word: &str) -> bool {
    word.split_once('-').is_some_and(|(first, _)| matches!(first, "len" | "length") || number(first).is_some())
}

impl Parser<'_> {
    /// Whether a number is next that is compared with another one.
    pub(super) fn starts_arithmetic(&mut self) -> bool {
        if matches!(self.lexer.sign(), Some("-" | "(")) {
            return true;
        }
        let word = self.lexer.word();
        let mut behind = self.lexer;
        behind.skip(word);
        if names::protocol(word).is_some() {
            return behind.sign() == Some("[");
        }
        let is_number = number(word).is_some() && is_operator(behind.sign());
        is_number || matches!(word, "len" | "length") || names::constant(word).is_some()
    }

    /// Two numbers with a comparison between them.
    pub(super) fn relation(&mut self) -> Parsed<Expression> {
        let mut left = Arithmetic::new();
        self.arithmetic(&mut left, 0)?;
        let Some((sign, relation)) = RELATIONS.into_iter().find(|(sign, _)| self.lexer.sign() == Some(sign)) else {
            let error = self.error("a comparison is missing");
            return Err(error.with("write one of = != < <= > >= and a number, such as `!= 0`"));
        };
        self.lexer.takes(sign);
        let mut right = Arithmetic::new();
        self.arithmetic(&mut right, 0)?;
        Ok(Expression::Test(Test::Relation(left, relation, right)))
    }

    /// A constant, perhaps in parentheses or calculated.
    pub(super) fn constant(&mut self) -> Parsed<u32> {
        let offset = self.lexer.position();
        let mut terms = Arithmetic::new();
        self.factor(&mut terms)?;
        match *terms {
            [Term::Constant(constant)] => Ok(constant),
            _ => Err(self.error_at(offset, "a constant number must stand here")),
        }
    }

    /// Operands, and operators that bind at least so strongly.
    fn arithmetic(&mut self, terms: &mut Arithmetic, least: u8) -> Parsed<()> {
        self.factor(terms)?;
        loop {
            let sign = self.lexer.sign();
            let next = OPERATORS.into_iter().find(|(known, strength, _)| sign == Some(known) && *strength >= least);
            let Some((sign, strength, operation)) = next else { return Ok(()) };
            self.lexer.takes(sign);
            let offset = self.lexer.position();
            let right = terms.len();
            self.arithmetic(terms, strength + 1)?;
            self.compute(terms, right, operation, offset)?;
        }
    }

    /// Ends an operation, whose right operand starts at the term `right` and stands at `offset` in the text.
    fn compute(&self, terms: &mut Arithmetic, right: usize, operation: Operation, offset: usize) -> Parsed<()> {
        let (left, right) = (terms[right - 1], &terms[right..]);
        if let [Term::Constant(constant)] = *right {
            match (operation, constant) {
                (Operation::Divide | Operation::Modulo, 0) => {
                    return Err(self.error_at(offset, "a division by 0"));
                }
                (Operation::ShiftLeft | Operation::ShiftRight, 32..) => {
                    return Err(self.error_at(offset, "a shift by more than 31 bits"));
                }
                _ => {}
            }
            if let Term::Constant(left) = left
                && let Some(result) = run::compute(operation, left, constant)
            {
                terms.truncate(terms.len() - 2);
                terms.push(Term::Constant(result));
                return Ok(());
            }
        }
        terms.push(Term::Compute(operation));
        Ok(())
    }

    /// One operand.
    fn factor(&mut self, terms: &mut Arithmetic) -> Parsed<()> {
        let mut is_negated = false;
        while self.lexer.takes("-") {
            is_negated = !is_negated;
        }
        if self.lexer.sign() == Some("(") {
            self.enter()?;
            self.expect("(")?;
            self.arithmetic(terms, 0)?;
            self.expect(")")?;
            self.depth -= 1;
        } else {
            self.atom(terms)?;
        }
        match terms.last_mut() {
            Some(Term::Constant(constant)) if is_negated => *constant = constant.wrapping_neg(),
            _ if is_negated => terms.push(Term::Negate),
            _ => {}
        }
        Ok(())
    }

    /// A number, the packet's length, or bytes of the packet.
    fn atom(&mut self, terms: &mut Arithmetic) -> Parsed<()> {
        let word = self.lexer.number();
        if names::protocol(word).is_some() {
            return self.bytes(terms, word);
        }
        let term = match word {
            "len" | "length" => Term::Length,
            _ => match number(word).or_else(|| names::constant(word)) {
                Some(constant) => Term::Constant(constant),
                None => return Err(self.no_number(word)),
            },
        };
        self.lexer.skip(word);
        terms.push(term);
        Ok(())
    }

    fn no_number(&mut self, word: &str) -> super::FilterError {
        if word.is_empty() {
            return self.error("a number is missing").with("write a number, `len`, or bytes such as `ip[8]`");
        }
        let error = self.error(format!("`{word}` is no number"));
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            error.with("write 10, 0xa or 012: decimal, hexadecimal or octal, of at most 32 bits")
        } else if hides_an_operator(word) {
            error.with("a name may contain `-`: write spaces around the operator")
        } else {
            error.with("write a number, `len`, bytes such as `ip[8]`, or a constant such as `tcp-syn`")
        }
    }

    /// `PROTOCOL[OFFSET]` or `PROTOCOL[OFFSET:SIZE]`.
    fn bytes(&mut self, terms: &mut Arithmetic, word: &str) -> Parsed<()> {
        let header = names::protocol(word).and_then(names::Protocol::header);
        let Some(header) = header else {
            return Err(self.error(format!("bytes of `{word}` have no fixed position")));
        };
        self.lexer.skip(word);
        self.enter()?;
        self.expect("[")?;
        self.arithmetic(terms, 0)?;
        let size = if self.lexer.takes(":") { self.size()? } else { Size::Byte };
        self.expect("]")?;
        self.depth -= 1;
        terms.push(Term::Load(header, size));
        Ok(())
    }

    fn size(&mut self) -> Parsed<Size> {
        let word = self.lexer.number();
        let size = match number(word) {
            Some(1) => Size::Byte,
            Some(2) => Size::Half,
            Some(4) => Size::Word,
            _ => return Err(self.error("a size is 1, 2 or 4 bytes")),
        };
        self.lexer.skip(word);
        Ok(size)
    }
}
