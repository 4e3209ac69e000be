//! Filters: which drops to report. One language for all commands: that of pcap-filter(7), and words about the drop itself.
//! `docs/reference/filter.md` describes it.
//!
//! [`Filter::parse`] reads a text (`lex`, `parse`), and compiles its meaning (`ast`, `compile`) into [`code`], which
//! [`Filter::matches`] runs in userspace, and which the eBPF backend translates.

mod ast;
mod check;
pub mod code;
mod compile;
mod error;
mod lex;
mod named;
mod names;
mod necessary;
mod parse;
pub mod question;
mod run;
mod split;
#[cfg(test)]
mod tests;

use std::fmt;

use ast::Expression;
pub use ast::Side;
pub use check::check;
use code::{MAX_OPS, MEMORY, Number, Op};
use compile::Failure;
pub use error::FilterError;
pub use named::Named;
pub use names::closest;
pub use necessary::Necessary;
use parse::Asked;
use question::Question;
pub use run::{Answers, View};
pub use split::Split;

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The text, as the user wrote it.
    pub text: String,
    /// What to run for each drop. [`check`] holds.
    pub code: Vec<Op>,
    /// The questions that the code asks.
    pub questions: Vec<Question>,
    /// Where the text first names the value of each question, in bytes from its start; 0 for a question without a value.
    pub offsets: Vec<usize>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Returns what is wrong with the text and where, also if the code would have more than [`MAX_OPS`] instructions.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let (expression, asked) = parse::parse(text)?;
        Self::compiled(text, &expression, &asked)
    }

    /// `expression` is the meaning of the text, or of a part of it.
    fn compiled(text: &str, expression: &Expression, asked: &Asked) -> Result<Self, FilterError> {
        let (code, questions) = compile::compile(expression).map_err(|failure| explained(text, failure))?;
        debug_assert!(check(&code, questions.len()), "{text}: {code:?}");
        let offset = |question| asked.iter().find(|(asked, _)| asked == question).map_or(0, |(_, offset)| *offset);
        let offsets = questions.iter().map(offset).collect();
        Ok(Self { text: text.to_owned(), code, questions, offsets })
    }

    /// The error that the value of a question means nothing here. `question` is its index; `remedy` says what would be right.
    pub fn refuse(&self, question: usize, message: impl Into<String>, remedy: Option<String>) -> FilterError {
        let offset = self.offsets.get(question).copied().unwrap_or_default();
        let error = FilterError::new(&self.text, offset, message);
        remedy.into_iter().fold(error, FilterError::with)
    }

    /// Whether a drop matches. A load beyond the bytes and a division by 0 end the run without a match.
    pub fn matches(&self, view: &View<'_>, answers: &impl Answers) -> bool {
        run::run(&self.code, &self.questions, view, answers).unwrap_or(false)
    }

    /// Whether the code loads bytes of the packet.
    pub fn asks_bytes(&self) -> bool {
        self.code.iter().any(|op| matches!(op, Op::Load { .. }))
    }

    /// Whether the code asks for the function of the drop site, by which some drops are usual, too.
    pub fn asks_site(&self) -> bool {
        self.questions.iter().any(|question| matches!(question, Question::Site(_) | Question::Usual))
    }

    /// Whether the code asks for the user who made the socket.
    pub fn asks_user(&self) -> bool {
        self.questions.iter().any(|question| matches!(question, Question::User(_)))
    }

    /// Whether the code asks for the owner of the packet's socket.
    pub fn asks_owner(&self) -> bool {
        let is_owner =
            |question: &Question| matches!(question, Question::Cgroup(_) | Question::Container(_) | Question::Pod(_));
        self.questions.iter().any(is_owner)
    }

    /// Whether the code asks for a network namespace by what holds it: a process (`pid:N`) or a file.
    pub fn asks_holder(&self) -> bool {
        let is_holder = |target: &str| target.starts_with("pid:") || target.contains('/');
        self.questions.iter().any(|question| matches!(question, Question::Netns(target) if is_holder(target)))
    }

    /// Whether the code asks for the packet's VLAN tag.
    pub fn asks_tag(&self) -> bool {
        self.code.iter().any(|op| matches!(op, Op::Number(Number::VlanTag)))
    }

    /// Whether the code asks anything about the packet: its bytes, length, protocol or tag.
    pub fn asks_packet(&self) -> bool {
        self.asks_bytes() || self.code.iter().any(|op| matches!(op, Op::Number(_)))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn explained(text: &str, failure: Failure) -> FilterError {
    match failure {
        Failure::TooLong => FilterError::new(text, 0, format!("the filter needs more than {MAX_OPS} instructions"))
            .with("write fewer conditions: nets instead of hosts, `portrange` instead of ports"),
        Failure::TooComplex => {
            FilterError::new(text, 0, format!("a comparison needs more than {MEMORY} numbers at a time"))
        }
    }
}
