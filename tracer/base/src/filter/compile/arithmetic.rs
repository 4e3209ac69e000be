//! The code of comparisons of numbers.

use super::Failure;
use super::assembler::{Assembler, Label};
use super::packet;
use crate::filter::ast::{Arithmetic, Header, Relation, Term};
use crate::filter::code::{Base, Comparison, MEMORY, Number, Op, Operand, Operation, Size};
use crate::filter::names::{ICMP6, IPV4, IPV6};

/// Two numbers and their comparison. The packet must have all headers that the numbers load from, or the comparison does
/// not hold.
pub(super) fn relation(
    code: &mut Assembler,
    left: &Arithmetic,
    relation: Relation,
    right: &Arithmetic,
    yes: Label,
    no: Label,
) -> Result<(), Failure> {
    need_headers(code, left.iter().chain(right), no);
    let mut numbers = Numbers { code, stack: Vec::new(), used: [false; MEMORY] };
    for term in left.iter().chain(right) {
        numbers.term(*term)?;
    }
    let operand = numbers.operands()?;
    let (comparison, holds, fails) = match relation {
        Relation::Equal => (Comparison::Equal, yes, no),
        Relation::NotEqual => (Comparison::Equal, no, yes),
        Relation::Greater => (Comparison::Greater, yes, no),
        Relation::LessOrEqual => (Comparison::Greater, no, yes),
        Relation::GreaterOrEqual => (Comparison::GreaterOrEqual, yes, no),
        Relation::Less => (Comparison::GreaterOrEqual, no, yes),
    };
    code.jump(comparison, operand, holds, fails);
    Ok(())
}

/// Goes on if the packet has all headers that the terms load from.
fn need_headers<'t>(code: &mut Assembler, terms: impl Iterator<Item = &'t Term>, no: Label) {
    let mut needed = Vec::new();
    for term in terms {
        let Term::Load(header, _) = term else { continue };
        if !needed.contains(header) {
            need_header(code, *header, no);
            needed.push(*header);
        }
    }
}

fn need_header(code: &mut Assembler, header: Header, no: Label) {
    match header {
        Header::Link => {}
        Header::Network(ether_type) => packet::need_ether_type(code, ether_type, no),
        Header::Transport(number) => {
            packet::need_ether_type(code, IPV4, no);
            packet::need_ipv4_protocol(code, number, no);
            packet::need_first_fragment(code, no);
        }
        Header::Icmp6 => {
            packet::need_ether_type(code, IPV6, no);
            packet::need_ipv6_next(code, ICMP6, no);
        }
    }
}

/// Where a number is while the code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// In the code itself.
    Constant(u32),
    /// In `A`. Only the last number that was calculated can be there.
    Accumulator,
    Memory(u8),
}

/// Calculates numbers from terms in postfix order.
struct Numbers<'c> {
    code: &'c mut Assembler,
    stack: Vec<Storage>,
    used: [bool; MEMORY],
}

impl Numbers<'_> {
    fn term(&mut self, term: Term) -> Result<(), Failure> {
        match term {
            Term::Constant(constant) => self.stack.push(Storage::Constant(constant)),
            Term::Length => {
                self.save()?;
                self.code.op(Op::Number(Number::Length));
                self.stack.push(Storage::Accumulator);
            }
            Term::Load(header, size) => self.load(header, size)?,
            Term::Negate => {
                self.stack.insert(self.stack.len().saturating_sub(1), Storage::Constant(0));
                self.compute(Operation::Subtract)?;
            }
            Term::Compute(operation) => self.compute(operation)?,
        }
        Ok(())
    }

    /// Moves the number in `A`, if there is one, to memory.
    fn save(&mut self) -> Result<(), Failure> {
        if let Some(at) = self.stack.iter().position(|storage| *storage == Storage::Accumulator) {
            let index = self.reserve()?;
            self.code.op(Op::Store(index));
            self.stack[at] = Storage::Memory(index);
        }
        Ok(())
    }

    fn reserve(&mut self) -> Result<u8, Failure> {
        let free = self.used.iter().position(|is_used| !is_used).ok_or(Failure::TooComplex)?;
        self.used[free] = true;
        u8::try_from(free).map_err(|_| Failure::TooComplex)
    }

    fn pop(&mut self) -> Storage {
        self.stack.pop().unwrap_or(Storage::Constant(0))
    }

    /// Moves a number to `A`, and frees its memory.
    fn recall(&mut self, storage: Storage) {
        match storage {
            Storage::Constant(constant) => self.code.op(Op::Constant(constant)),
            Storage::Accumulator => {}
            Storage::Memory(index) => {
                self.code.op(Op::Recall(index));
                self.used[usize::from(index)] = false;
            }
        }
    }

    /// Takes the last two numbers: the first of them to `A`, the second to where an instruction takes it from.
    fn operands(&mut self) -> Result<Operand, Failure> {
        let (right, left) = (self.pop(), self.pop());
        if let Storage::Constant(constant) = right {
            // `A` may hold a number below these two.
            if left != Storage::Accumulator {
                self.save()?;
            }
            self.recall(left);
            return Ok(Operand::Constant(constant));
        }
        self.recall(right);
        self.code.op(Op::ToX);
        self.recall(left);
        Ok(Operand::X)
    }

    fn compute(&mut self, operation: Operation) -> Result<(), Failure> {
        let operand = self.operands()?;
        self.code.op(Op::Compute(operation, operand));
        self.stack.push(Storage::Accumulator);
        Ok(())
    }

    /// Replaces the last number, an offset, by the bytes there.
    fn load(&mut self, header: Header, size: Size) -> Result<(), Failure> {
        let (base, beyond) = match header {
            Header::Link => (Base::Link, 0),
            Header::Network(_) | Header::Transport(_) => (Base::Network, 0),
            Header::Icmp6 => (Base::Network, packet::IPV6_LENGTH),
        };
        let is_transport = matches!(header, Header::Transport(_));
        let (indexed, offset) = match self.pop() {
            Storage::Constant(constant) => {
                self.save()?;
                if is_transport {
                    packet::ipv4_length_to_x(self.code);
                }
                // Offsets that large are beyond the end in any case.
                (is_transport, constant.saturating_add(beyond))
            }
            storage => {
                self.offset_to_x(storage, is_transport)?;
                (true, beyond)
            }
        };
        self.code.op(Op::Load { base, size, indexed, offset });
        self.stack.push(Storage::Accumulator);
        Ok(())
    }

    /// `X` = an offset that is not constant, from the network header on.
    fn offset_to_x(&mut self, offset: Storage, is_transport: bool) -> Result<(), Failure> {
        self.recall(offset);
        if is_transport {
            let index = self.reserve()?;
            self.code.op(Op::Store(index));
            packet::ipv4_length_to_x(self.code);
            self.recall(Storage::Memory(index));
            self.code.op(Op::Compute(Operation::Add, Operand::X));
        }
        self.code.op(Op::ToX);
        Ok(())
    }
}
