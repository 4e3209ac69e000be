//! Filters: which drops to report. One language for all commands: that of pcap-filter(7), and words about the drop itself.
//! `docs/filter.md` describes it.
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
mod parse;
pub mod question;
mod run;
#[cfg(test)]
mod tests;

use std::fmt;

pub use check::check;
use code::{MAX_OPS, MEMORY, Op};
use compile::Failure;
pub use error::FilterError;
pub use named::{Named, UsualReasons};
use question::Question;
pub use run::{Answers, View};

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The text, as the user wrote it.
    pub text: String,
    /// What to run for each drop. [`check`] holds.
    pub code: Vec<Op>,
    /// The questions that the code asks.
    pub questions: Vec<Question>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Returns what is wrong with the text and where, also if the code would have more than [`MAX_OPS`] instructions.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let expression = parse::parse(text)?;
        let (code, questions) = compile::compile(&expression).map_err(|failure| explained(text, failure))?;
        debug_assert!(check(&code, questions.len()), "{text}: {code:?}");
        Ok(Self { text: text.to_owned(), code, questions })
    }

    /// Whether a drop matches. A load beyond the bytes and a division by 0 end the run without a match.
    pub fn matches(&self, view: &View<'_>, answers: &impl Answers) -> bool {
        run::run(&self.code, &self.questions, view, answers).unwrap_or(false)
    }

    /// Whether the code loads bytes of the packet.
    pub fn asks_bytes(&self) -> bool {
        self.code.iter().any(|op| matches!(op, Op::Load { .. }))
    }

    /// Whether the code asks for the function of the drop site.
    pub fn asks_site(&self) -> bool {
        self.questions.iter().any(|question| matches!(question, Question::Site(_)))
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
