//! From meaning to code. A condition's code ends with a jump to one of two labels: where to go on if the condition holds,
//! and where if it does not.

mod arithmetic;
mod assembler;
mod packet;

use super::ast::{Expression, Join, Test};
use super::code::Op;
use super::question::Question;
use assembler::{Assembler, Label};

/// Why there is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// More instructions than [`super::code::MAX_OPS`].
    TooLong,
    /// An arithmetic expression needs more than [`super::code::MEMORY`] numbers at a time.
    TooComplex,
}

/// The code of a condition, and the questions that it asks.
pub(super) fn compile(expression: &Expression) -> Result<(Vec<Op>, Vec<Question>), Failure> {
    let mut code = Assembler::default();
    let (yes, no) = (code.label(), code.label());
    condition(&mut code, expression, yes, no)?;
    code.bind(yes);
    code.op(Op::Return(true));
    code.bind(no);
    code.op(Op::Return(false));
    code.finish().ok_or(Failure::TooLong)
}

fn condition(code: &mut Assembler, expression: &Expression, yes: Label, no: Label) -> Result<(), Failure> {
    if code.is_too_long() {
        return Err(Failure::TooLong);
    }
    match expression {
        Expression::Not(inner) => condition(code, inner, no, yes),
        Expression::Chain(first, rest) => chain(code, first, rest, yes, no),
        Expression::Test(test) => one(code, test, yes, no),
    }
}

/// Conditions from left to right. If those up to one hold together, the next that counts is behind the next `and`; if they do
/// not, behind the next `or`.
fn chain(
    code: &mut Assembler,
    first: &Expression,
    rest: &[(Join, Expression)],
    yes: Label,
    no: Label,
) -> Result<(), Failure> {
    // From the last to the first: the label of each condition, and where the one before it goes on.
    let (mut held, mut failed) = (yes, no);
    let mut exits = vec![(held, failed)];
    for (join, _) in rest.iter().rev() {
        let label = code.label();
        match join {
            Join::And => held = label,
            Join::Or => failed = label,
        }
        exits.push((held, failed));
    }
    let mut exits = exits.into_iter().rev();
    let (held, failed) = exits.next().unwrap_or((yes, no));
    condition(code, first, held, failed)?;
    let mut before = (held, failed);
    for ((join, expression), (held, failed)) in rest.iter().zip(exits) {
        code.bind(if *join == Join::And { before.0 } else { before.1 });
        condition(code, expression, held, failed)?;
        before = (held, failed);
    }
    Ok(())
}

fn one(code: &mut Assembler, test: &Test, yes: Label, no: Label) -> Result<(), Failure> {
    match test {
        Test::EtherType(ether_type) => packet::ether_type(code, *ether_type, yes, no),
        Test::Payload(family, number) => packet::payload(code, *family, *number, yes, no),
        Test::Ipv4 { carrier, side, address, mask } => {
            packet::ipv4(code, *carrier, *side, packet::Masked { address: *address, mask: *mask }, yes, no);
        }
        Test::Ipv6 { side, address, mask } => packet::ipv6(code, *side, *address, *mask, yes, no),
        Test::Ethernet { side, address } => packet::ethernet(code, *side, *address, yes, no),
        Test::Ports { transport, side, first, last } => {
            packet::ports(code, *transport, *side, packet::Ports { first: *first, last: *last }, yes, no);
        }
        Test::Vlan(number) => packet::vlan(code, *number, yes, no),
        Test::Relation(left, relation, right) => {
            return arithmetic::relation(code, left, *relation, right, yes, no);
        }
        Test::Question(question) => code.test(question, yes, no),
    }
    Ok(())
}
