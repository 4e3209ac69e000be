//! Code with jumps to positions that come later.

use crate::filter::code::{Comparison, MAX_OPS, Op, Operand};
use crate::filter::question::Question;

/// A position in the code, which jumps name before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Code under construction.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    ops: Vec<Op>,
    /// The jumps: where they are, and where they go.
    jumps: Vec<(usize, Label, Label)>,
    /// The position of each label.
    positions: Vec<usize>,
    questions: Vec<Question>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.positions.push(usize::MAX);
        Label(self.positions.len() - 1)
    }

    /// Puts a label before the next instruction.
    pub(super) fn bind(&mut self, label: Label) {
        self.positions[label.0] = self.ops.len();
    }

    pub(super) fn op(&mut self, op: Op) {
        self.ops.push(op);
    }

    pub(super) fn jump(&mut self, comparison: Comparison, operand: Operand, then: Label, otherwise: Label) {
        self.jumps.push((self.ops.len(), then, otherwise));
        self.op(Op::Jump { comparison, operand, then: 0, otherwise: 0 });
    }

    /// Jumps if `A` equals a constant; else goes on.
    pub(super) fn if_equal(&mut self, constant: u32, then: Label) {
        let next = self.label();
        self.jump(Comparison::Equal, Operand::Constant(constant), then, next);
        self.bind(next);
    }

    /// Jumps unless `A` equals a constant; else goes on.
    pub(super) fn unless_equal(&mut self, constant: u32, otherwise: Label) {
        let next = self.label();
        self.jump(Comparison::Equal, Operand::Constant(constant), next, otherwise);
        self.bind(next);
    }

    pub(super) fn test(&mut self, question: &Question, then: Label, otherwise: Label) {
        let known = self.questions.iter().position(|known| known == question);
        let index = known.unwrap_or_else(|| {
            self.questions.push(question.clone());
            self.questions.len() - 1
        });
        self.jumps.push((self.ops.len(), then, otherwise));
        // An index that does not fit belongs to code that is too long.
        let question = u16::try_from(index).unwrap_or(u16::MAX);
        self.op(Op::Test { question, then: 0, otherwise: 0 });
    }

    pub(super) const fn is_too_long(&self) -> bool {
        self.ops.len() > MAX_OPS
    }

    /// The finished code and its questions; absent if it is too long. Each label is bound by then.
    pub(super) fn finish(mut self) -> Option<(Vec<Op>, Vec<Question>)> {
        if self.is_too_long() {
            return None;
        }
        for (at, to_then, to_otherwise) in self.jumps {
            let distance = |label: Label| u16::try_from(self.positions[label.0].checked_sub(at + 1)?).ok();
            let (new_then, new_otherwise) = (distance(to_then)?, distance(to_otherwise)?);
            if let Op::Jump { then, otherwise, .. } | Op::Test { then, otherwise, .. } = &mut self.ops[at] {
                (*then, *otherwise) = (new_then, new_otherwise);
            }
        }
        Some((self.ops, self.questions))
    }
}
