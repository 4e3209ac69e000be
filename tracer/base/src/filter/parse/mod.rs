//! From text to meaning, by the grammar of pcap-filter(7) and the words of droptrace.

mod address;
mod arithmetic;
mod habits;
mod head;
mod question;
mod value;

use super::ast::{Arithmetic, Expression, Header, Join, Relation, Side, Term, Test};
use super::code::{Operation, Size};
use super::error::FilterError;
use super::lex::Lexer;
use super::names::{self, IPV4, IPV6, Protocol};
use super::question::Question;
use crate::outside::printable;
use head::Head;

/// Longest text, in bytes.
pub(super) const MAX_TEXT: usize = 64 << 10;
/// Most parentheses and brackets within one another.
const MAX_DEPTH: usize = 64;

type Parsed<T> = Result<T, FilterError>;

/// The questions with a value that a text asks, and where their values stand.
pub(super) type Asked = Vec<(Question, usize)>;

/// Reads a text to its end.
pub(super) fn parse(text: &str) -> Parsed<(Expression, Asked)> {
    if text.len() > MAX_TEXT {
        let message = format!("the filter has {} bytes", text.len());
        return Err(FilterError::new(text, 0, message).with(format!("write at most {MAX_TEXT}")));
    }
    let mut parser = Parser { lexer: Lexer::new(text), depth: 0, asked: Asked::new() };
    if parser.lexer.is_at_end() {
        return Err(parser.error("the filter is empty").with("write a condition such as `tcp port 443`"));
    }
    let expression = parser.expression(&mut None)?;
    if parser.lexer.is_at_end() { Ok((expression, parser.asked)) } else { Err(parser.superfluous()) }
}

/// The state of reading a text.
struct Parser<'t> {
    lexer: Lexer<'t>,
    depth: usize,
    asked: Asked,
}

impl Parser<'_> {
    /// Conditions joined by `and` and `or`, which bind equally and from left to right. `carried` is the head of the last
    /// condition: a value without a head has that one (`port 80 or 443`).
    fn expression(&mut self, carried: &mut Option<Head>) -> Parsed<Expression> {
        let first = self.operand(carried)?;
        let mut rest = Vec::new();
        while let Some(join) = self.join() {
            rest.push((join, self.operand(carried)?));
        }
        Ok(if rest.is_empty() { first } else { Expression::Chain(Box::new(first), rest) })
    }

    fn join(&mut self) -> Option<Join> {
        if self.lexer.takes("&&") || self.lexer.takes_word("and") {
            return Some(Join::And);
        }
        (self.lexer.takes("||") || self.lexer.takes_word("or")).then_some(Join::Or)
    }

    /// One condition, perhaps negated, perhaps in parentheses.
    fn operand(&mut self, carried: &mut Option<Head>) -> Parsed<Expression> {
        let is_negated = self.negations();
        let condition = if self.lexer.sign() == Some("(") && !self.parentheses_hold_a_number()? {
            // Behind the parentheses, the head is that before them.
            self.within_parentheses(&mut carried.clone())?
        } else {
            self.term(carried)?
        };
        Ok(negated(condition, is_negated))
    }

    /// Whether the words `not` that come next negate.
    fn negations(&mut self) -> bool {
        let mut is_negated = false;
        while self.lexer.takes("!") || self.lexer.takes_word("not") {
            is_negated = !is_negated;
        }
        is_negated
    }

    fn within_parentheses(&mut self, carried: &mut Option<Head>) -> Parsed<Expression> {
        self.enter()?;
        self.expect("(")?;
        let expression = self.expression(carried)?;
        self.expect(")")?;
        self.depth -= 1;
        Ok(expression)
    }

    /// Whether the next parentheses are part of arithmetic: an operator follows them.
    fn parentheses_hold_a_number(&mut self) -> Parsed<bool> {
        let Some(behind) = self.lexer.behind_parentheses() else {
            return Err(self.error("no `)` closes this parenthesis"));
        };
        let mut lexer = self.lexer;
        lexer.back_to(behind);
        Ok(arithmetic::is_operator(lexer.sign()))
    }

    /// One condition that starts with a word.
    fn term(&mut self, carried: &mut Option<Head>) -> Parsed<Expression> {
        if self.starts_arithmetic() {
            *carried = None;
            return self.relation();
        }
        if let Some(condition) = self.short()? {
            *carried = None;
            return Ok(condition);
        }
        if let Some(ask) = self.ask() {
            let head = Head::Question(ask);
            *carried = Some(head);
            return self.values(head);
        }
        let word = self.lexer.word();
        if let Some(remedy) = names::lacking(word) {
            return Err(self.error(format!("`{word}` is not available in droptrace")).with(remedy));
        }
        match self.packet_head()? {
            head::Read::Head(head) => {
                *carried = Some(head);
                self.values(head)
            }
            head::Read::Condition(condition) => {
                *carried = None;
                Ok(condition)
            }
            head::Read::Nothing => match *carried {
                Some(head) if head.may_be_left_out_before(word) => self.value(head),
                _ => Err(self.unknown()),
            },
        }
    }

    /// What follows a head: a value, or values in parentheses.
    fn values(&mut self, head: Head) -> Parsed<Expression> {
        let is_negated = self.negations();
        let condition =
            if self.lexer.sign() == Some("(") { self.within_parentheses(&mut Some(head))? } else { self.value(head)? };
        Ok(negated(condition, is_negated))
    }

    /// The conditions that consist of one word, or of a word and a number.
    fn short(&mut self) -> Parsed<Option<Expression>> {
        let word = self.lexer.word();
        let test = match word {
            "usual" | "unusual" => Test::Question(Question::Usual),
            "vlan" | "less" | "greater" => {
                self.lexer.skip(word);
                return self.with_number(word).map(|test| Some(Expression::Test(test)));
            }
            _ => return Ok(None),
        };
        self.lexer.skip(word);
        Ok(Some(negated(Expression::Test(test), word == "unusual")))
    }

    fn with_number(&mut self, word: &str) -> Parsed<Test> {
        if word == "vlan" {
            return self.vlan();
        }
        let number = self.constant()?;
        let relation = if word == "less" { Relation::LessOrEqual } else { Relation::GreaterOrEqual };
        Ok(Test::Relation(vec![Term::Length], relation, vec![Term::Constant(number)]))
    }

    /// `vlan`, or `vlan NUMBER`.
    fn vlan(&mut self) -> Parsed<Test> {
        let offset = self.lexer.position();
        if !self.lexer.number().starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Test::Vlan(None));
        }
        let number = self.constant()?;
        let number = u16::try_from(number).ok().filter(|number| *number < 0x1000);
        let Some(number) = number else {
            return Err(self.error_at(offset, "a VLAN has a number up to 4095"));
        };
        Ok(Test::Vlan(Some(number)))
    }

    /// Counts a level of parentheses or brackets.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} parentheses are within one another")));
        }
        Ok(())
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.lexer.takes(sign) { Ok(()) } else { Err(self.error(format!("`{sign}` is missing"))) }
    }

    fn error(&mut self, message: impl Into<String>) -> FilterError {
        let position = self.lexer.position();
        self.error_at(position, message)
    }

    fn error_at(&self, position: usize, message: impl Into<String>) -> FilterError {
        FilterError::new(self.lexer.text, position, message)
    }

    /// The error for something behind a complete condition.
    fn superfluous(&mut self) -> FilterError {
        let word = self.lexer.word();
        if self.lexer.sign() == Some(")") {
            return self.error("no `(` belongs to this parenthesis");
        }
        let is_list = self.lexer.has_next(',');
        let error = self.error("the filter should end here, or go on with `and` or `or`");
        if is_list {
            return error.with("write `or` between the values of a list: `port 53 or 853`");
        }
        if let Some(remedy) = habits::remedy(word) {
            return error.with(remedy);
        }
        match names::nearest(word).filter(|near| *near != word) {
            Some(near) => error.with(did_you_mean(near)),
            None => error,
        }
    }

    /// The error for something that starts no condition.
    fn unknown(&mut self) -> FilterError {
        let word = self.lexer.word();
        let start = "a condition starts with a word such as `tcp`, `host`, `port` or `reason`";
        if let Some(word) = self.lexer.foreign_word() {
            return self.error(format!("unknown word `{}`", printable(word))).with(start);
        }
        if word.is_empty() {
            return self.error("a condition is missing").with(start);
        }
        let remedy = if address::is_ethernet(word) {
            format!("write `ether host {word}`")
        } else if address::is_ip(word) {
            format!("write `host {word}`")
        } else if arithmetic::number(word).is_some() {
            format!("write `port {word}`, or compare the number")
        } else if arithmetic::hides_an_operator(word) {
            "a name may contain `-`: write spaces around the operator".into()
        } else if let Some(remedy) = habits::remedy(word) {
            remedy
        } else if let Some(near) = names::nearest(word).filter(|near| *near != word) {
            did_you_mean(near)
        } else {
            start.into()
        };
        let message = if names::is_reserved(word) { "no condition starts with" } else { "unknown word" };
        self.error(format!("{message} `{word}`")).with(remedy)
    }
}

fn did_you_mean(near: &str) -> String {
    format!("did you mean `{near}`?")
}

fn negated(condition: Expression, is_negated: bool) -> Expression {
    if is_negated { Expression::Not(Box::new(condition)) } else { condition }
}
