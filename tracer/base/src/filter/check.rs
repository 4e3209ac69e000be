//! Whether code is safe to run and to translate: it ends, and stays within its bounds.

use super::code::{MAX_OPS, MEMORY, Op};

/// Whether all jumps and the last instruction stay within the code, memory has all indices, there are as many questions,
/// and the code is not too long. Jumps go forward by their type, so the code ends.
pub fn check(code: &[Op], questions: usize) -> bool {
    let ends = matches!(code.last(), Some(Op::Return(_)));
    ends && code.len() <= MAX_OPS
        && code.iter().enumerate().all(|(at, op)| is_within(*op, code.len() - at - 1, questions))
}

/// Whether an instruction with so many instructions behind it stays within the code.
fn is_within(op: Op, behind: usize, questions: usize) -> bool {
    let reaches = |distance: u16| usize::from(distance) < behind;
    match op {
        Op::Store(index) | Op::Recall(index) => usize::from(index) < MEMORY,
        Op::Jump { then, otherwise, .. } => reaches(then) && reaches(otherwise),
        Op::Test { question, then, otherwise } => {
            usize::from(question) < questions && reaches(then) && reaches(otherwise)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::code::{Comparison, Operand};

    fn jump(then: u16, otherwise: u16) -> Op {
        Op::Jump { comparison: Comparison::Equal, operand: Operand::Constant(0), then, otherwise }
    }

    #[test]
    fn code_stays_within_its_bounds() {
        assert!(check(&[Op::Return(true)], 0));
        assert!(check(&[jump(0, 1), Op::Return(true), Op::Return(false)], 0));
        assert!(!check(&[], 0), "no code");
        assert!(!check(&[Op::Constant(1)], 0), "no end");
        assert!(!check(&[jump(0, 1), Op::Return(true)], 0), "a jump behind the end");
        assert!(!check(&[Op::Return(true), jump(0, 0)], 0), "a jump at the end");
        assert!(!check(&[Op::Store(16), Op::Return(true)], 0) && check(&[Op::Store(15), Op::Return(true)], 0));
        assert!(!check(&[Op::Recall(16), Op::Return(true)], 0));
        let test = [Op::Test { question: 1, then: 0, otherwise: 0 }, Op::Return(true)];
        assert!(!check(&test, 1) && check(&test, 2));
        assert!(!check(&vec![Op::Return(true); MAX_OPS + 1], 0));
    }
}
