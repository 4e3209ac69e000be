//! Runs a filter in userspace.

use super::code::{Base, Comparison, MEMORY, Number, Op, Operand, Operation, Size};
use super::question::Question;

/// What a filter sees of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'p> {
    /// The bytes from the Ethernet header on; empty if the packet has none, or it is unknown.
    pub link: &'p [u8],
    /// The bytes from the network header on, behind VLAN tags; empty if it is unknown.
    pub network: &'p [u8],
    /// [`Number::Protocol`].
    pub protocol: u16,
    /// [`Number::Length`].
    pub length: u32,
    /// [`Number::VlanTag`].
    pub vlan_tag: u32,
}

impl View<'_> {
    fn number(&self, number: Number) -> u32 {
        match number {
            Number::Length => self.length,
            Number::Protocol => self.protocol.into(),
            Number::VlanTag => self.vlan_tag,
        }
    }

    fn load(&self, base: Base, size: Size, at: u64) -> Option<u32> {
        let bytes = match base {
            Base::Link => self.link,
            Base::Network => self.network,
        };
        let at = usize::try_from(at).ok()?;
        let loaded = bytes.get(at..at.checked_add(size as usize)?)?;
        Some(loaded.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
}

/// Answers questions about one drop.
pub trait Answers {
    /// Whether the answer is yes; a question whose answer is unknown is not.
    fn answer(&self, question: &Question) -> bool;
}

/// The result of an operation; absent for a division by 0.
pub(super) fn compute(operation: Operation, left: u32, right: u32) -> Option<u32> {
    Some(match operation {
        Operation::Add => left.wrapping_add(right),
        Operation::Subtract => left.wrapping_sub(right),
        Operation::Multiply => left.wrapping_mul(right),
        Operation::Divide => left.checked_div(right)?,
        Operation::Modulo => left.checked_rem(right)?,
        Operation::And => left & right,
        Operation::Or => left | right,
        Operation::Xor => left ^ right,
        Operation::ShiftLeft => left.checked_shl(right).unwrap_or(0),
        Operation::ShiftRight => left.checked_shr(right).unwrap_or(0),
    })
}

fn holds(comparison: Comparison, left: u32, right: u32) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
        Comparison::AnyBit => left & right != 0,
    }
}

/// Runs code that [`super::check`] approved of; other code does not match. `None` means that a load went beyond the bytes,
/// or that a divisor was 0.
pub(super) fn run(code: &[Op], questions: &[Question], view: &View<'_>, answers: &impl Answers) -> Option<bool> {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; MEMORY]);
    let mut at = 0;
    loop {
        let op = *code.get(at)?;
        at += 1;
        let value = |operand| match operand {
            Operand::Constant(constant) => constant,
            Operand::X => x,
        };
        match op {
            Op::Load { base, size, indexed, offset } => {
                let index = if indexed { u64::from(x) } else { 0 };
                a = view.load(base, size, index + u64::from(offset))?;
            }
            Op::Number(number) => a = view.number(number),
            Op::Constant(constant) => a = constant,
            Op::Store(index) => *memory.get_mut(usize::from(index))? = a,
            Op::Recall(index) => a = *memory.get(usize::from(index))?,
            Op::ToX => x = a,
            Op::FromX => a = x,
            Op::Compute(operation, operand) => a = compute(operation, a, value(operand))?,
            Op::Jump { comparison, operand, then, otherwise } => {
                at += usize::from(if holds(comparison, a, value(operand)) { then } else { otherwise });
            }
            Op::Test { question, then, otherwise } => {
                let is_yes = answers.answer(questions.get(usize::from(question))?);
                at += usize::from(if is_yes { then } else { otherwise });
            }
            Op::Return(result) => return Some(result),
        }
    }
}
