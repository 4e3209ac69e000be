//! Translates the code of a filter into instructions of eBPF: the body of the kernel program's `packet_filter`.
//!
//! `A` is R6, `X` is R7, and R8 has the address of the program's state; memory is on the stack. Bytes of the packet are
//! read one load at a time, each after a check against the contiguous bytes, so that the verifier need not know any
//! limits.

use std::mem::offset_of;

use aya_obj::generated::bpf_insn;
use tracer_common::{CpuState, PacketView, VLAN_PRESENT};

use super::assembler::{
    ADD, AND, ANY_BIT, Assembler, Bits, DIVIDE, EQUAL, GREATER, GREATER_OR_EQUAL, LESS, Label, MODULO, MOVE, MULTIPLY,
    NOT_EQUAL, OR, Register, SHIFT_LEFT, SHIFT_RIGHT, SUBTRACT, Source, TooFar, Width, XOR,
};
use super::condition::{Condition, STATE, state_offset};
use crate::filter::code::{Base, Comparison, MEMORY, Number, Op, Operand, Operation, Size, TAGGED};

const A: Register = Register::R6;
const X: Register = Register::R7;
/// The kernel program writes [`Number::VlanTag`] as it is.
const _: () = assert!(VLAN_PRESENT == TAGGED);

/// The helper `bpf_probe_read_kernel` (`include/uapi/linux/bpf.h`).
const PROBE_READ_KERNEL: u32 = 113;
/// Where the helper writes to, from the end of the stack: behind the words of memory.
const BUFFER: i16 = -72;
const _: () = assert!(MEMORY * size_of::<u32>() + size_of::<u64>() == 72);

/// How bytes of packets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Reading {
    /// Through `bpf_rdonly_cast`.
    Cast {
        /// The function's BTF id.
        function: u32,
        /// The BTF id of `struct in6_addr`, sixteen plain bytes.
        in6_addr: u32,
    },
    /// By `bpf_probe_read_kernel`.
    Probe,
    /// The kernel does not allow it: no packet has bytes.
    Nothing,
}

/// The translation under way.
struct Translation<'a> {
    code: &'a [Op],
    conditions: &'a [Condition],
    reading: Reading,
    to: Assembler,
    /// One for each [`Op`].
    labels: Vec<Label>,
    /// The end without a match.
    reject: Label,
}

/// Translates valid code. `conditions` are the answers to its questions, by index; a question without one is answered by
/// no.
pub(super) fn translate(code: &[Op], conditions: &[Condition], reading: Reading) -> Result<Vec<bpf_insn>, TooFar> {
    let mut to = Assembler::default();
    let labels = code.iter().map(|_| to.label()).collect();
    let reject = to.label();
    let mut translation = Translation { code, conditions, reading, to, labels, reject };
    translation.begin();
    let reached = translation.reached();
    for (at, op) in code.iter().enumerate() {
        // Verifiers refuse code that cannot be reached.
        if reached.get(at) == Some(&true) {
            translation.op(at, op);
        }
    }
    translation.end()
}

/// The position of a word of memory on the stack.
fn memory(word: u8) -> i16 {
    -4 * (i16::from(word) + 1)
}

impl<'a> Translation<'a> {
    fn begin(&mut self) {
        self.to.compute(Bits::B64, MOVE, STATE, Source::Of(Register::R1));
        for register in [A, X] {
            self.to.compute(Bits::B32, MOVE, register, Source::Immediate(0));
        }
        let recalled = |op: &Op| if let Op::Recall(word) = op { Some(*word) } else { None };
        let mut words: Vec<u8> = self.code.iter().filter_map(recalled).collect();
        words.sort_unstable();
        words.dedup();
        for word in words {
            self.to.store_number(Width::Word, Register::R10, memory(word), 0);
        }
    }

    fn end(mut self) -> Result<Vec<bpf_insn>, TooFar> {
        if self.to.is_used(self.reject) {
            self.to.bind(self.reject);
            self.to.exit(0);
        }
        self.to.finish()
    }

    /// Which instructions can be reached.
    fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.code.len()];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        for (at, op) in self.code.iter().enumerate() {
            if reached.get(at) != Some(&true) {
                continue;
            }
            for skipped in self.successors(op).into_iter().flatten() {
                if let Some(next) = reached.get_mut(at + 1 + usize::from(skipped)) {
                    *next = true;
                }
            }
        }
        reached
    }

    /// Instructions that are skipped to those that may come next.
    fn successors(&self, op: &Op) -> [Option<u16>; 2] {
        match op {
            Op::Jump { then, otherwise, .. } => [Some(*then), Some(*otherwise)],
            Op::Test { question, then, otherwise } => {
                let condition = self.condition(*question);
                [Some(*then).filter(|_| condition.can_hold()), Some(*otherwise).filter(|_| condition.can_fail())]
            }
            Op::Load { size, offset, .. } if !self.can_load(*size, *offset) => [None, None],
            Op::Return(_) | Op::Compute(Operation::Divide | Operation::Modulo, Operand::Constant(0)) => [None, None],
            _ => [Some(0), None],
        }
    }

    fn condition(&self, question: u16) -> &'a Condition {
        static NEVER: Condition = Condition::NEVER;
        self.conditions.get(usize::from(question)).unwrap_or(&NEVER)
    }

    /// Whether a packet can have these bytes at all. A comparison with a number of more than 31 bits takes a register,
    /// and no packet is that long.
    fn can_load(&self, size: Size, offset: u32) -> bool {
        self.reading != Reading::Nothing
            && offset.checked_add(size as u32).is_some_and(|end| i32::try_from(end).is_ok())
    }

    fn label(&self, at: usize, skipped: u16) -> Label {
        // A jump beyond the end is not in valid code.
        self.labels.get(at + 1 + usize::from(skipped)).copied().unwrap_or(self.reject)
    }

    fn op(&mut self, at: usize, op: &Op) {
        if let Some(label) = self.labels.get(at) {
            self.to.bind(*label);
        }
        match *op {
            Op::Load { base, size, indexed, offset } => self.load(base, size, indexed, offset),
            Op::Number(number) => self.number(number),
            Op::Constant(number) => self.to.compute(Bits::B32, MOVE, A, Source::Immediate(number)),
            Op::Store(word) => self.to.store(Width::Word, Register::R10, memory(word), A),
            Op::Recall(word) => self.to.load(Width::Word, A, Register::R10, memory(word)),
            Op::ToX => self.to.compute(Bits::B32, MOVE, X, Source::Of(A)),
            Op::FromX => self.to.compute(Bits::B32, MOVE, A, Source::Of(X)),
            Op::Compute(operation, operand) => self.compute(operation, operand),
            Op::Jump { comparison, operand, then, otherwise } => {
                let labels = (self.label(at, then), self.label(at, otherwise));
                self.to.jump_if(Bits::B32, comparison_code(comparison), A, source(operand), labels.0);
                if otherwise != 0 {
                    self.to.jump(labels.1);
                }
            }
            Op::Test { question, then, otherwise } => {
                let (yes, no) = (self.label(at, then), self.label(at, otherwise));
                self.condition(question).assemble(&mut self.to, yes, no);
            }
            Op::Return(matches) => self.to.exit(matches.into()),
        }
    }

    fn number(&mut self, number: Number) {
        let at = match number {
            Number::Length => offset_of!(CpuState, dropped.length),
            Number::Protocol => offset_of!(CpuState, view.protocol),
            Number::VlanTag => offset_of!(CpuState, view.vlan),
        };
        self.to.load(Width::Word, A, STATE, state_offset(at));
    }

    /// Loads bytes of the packet, or ends the run where there are none.
    fn load(&mut self, base: Base, size: Size, indexed: bool, offset: u32) {
        if !self.can_load(size, offset) {
            return self.to.jump(self.reject);
        }
        let (address, length) = match base {
            Base::Link => (offset_of!(PacketView, link), offset_of!(PacketView, link_length)),
            Base::Network => (offset_of!(PacketView, network), offset_of!(PacketView, network_length)),
        };
        let [address, length] = [address, length].map(|at| state_offset(offset_of!(CpuState, view) + at));
        self.to.load(Width::Double, Register::R1, STATE, length);
        if indexed {
            // The sum has 33 bits.
            self.to.compute(Bits::B64, MOVE, Register::R3, Source::Of(X));
            self.to.compute(Bits::B64, ADD, Register::R3, Source::Immediate(offset + size as u32));
            self.to.jump_if(Bits::B64, GREATER, Register::R3, Source::Of(Register::R1), self.reject);
        } else {
            self.to.jump_if(Bits::B64, LESS, Register::R1, Source::Immediate(offset + size as u32), self.reject);
        }
        self.to.load(Width::Double, Register::R1, STATE, address);
        if indexed {
            self.to.compute(Bits::B64, ADD, Register::R1, Source::Of(X));
        }
        if offset != 0 {
            self.to.compute(Bits::B64, ADD, Register::R1, Source::Immediate(offset));
        }
        self.read(size);
    }

    /// Reads the bytes at the address in R1.
    fn read(&mut self, size: Size) {
        let (width, bits) = match size {
            Size::Byte => (Width::Byte, None),
            Size::Half => (Width::Half, Some(16)),
            Size::Word => (Width::Word, Some(32)),
        };
        match self.reading {
            Reading::Cast { function, in6_addr } => {
                self.to.compute(Bits::B32, MOVE, Register::R2, Source::Immediate(in6_addr));
                self.to.call_kernel(function);
                self.to.load(width, A, Register::R0, 0);
            }
            Reading::Probe | Reading::Nothing => {
                self.to.compute(Bits::B64, MOVE, Register::R3, Source::Of(Register::R1));
                self.to.compute(Bits::B64, MOVE, Register::R1, Source::Of(Register::R10));
                self.to.compute(Bits::B64, ADD, Register::R1, Source::Immediate(i32::from(BUFFER).cast_unsigned()));
                self.to.compute(Bits::B32, MOVE, Register::R2, Source::Immediate(size as u32));
                self.to.call_helper(PROBE_READ_KERNEL);
                self.to.jump_if(Bits::B64, NOT_EQUAL, Register::R0, Source::Immediate(0), self.reject);
                self.to.load(width, A, Register::R10, BUFFER);
            }
        }
        if let Some(bits) = bits {
            self.to.swap_from_network(A, bits);
        }
    }

    fn compute(&mut self, operation: Operation, operand: Operand) {
        let code = match operation {
            Operation::Add => ADD,
            Operation::Subtract => SUBTRACT,
            Operation::Multiply => MULTIPLY,
            Operation::Divide => return self.divide(DIVIDE, operand),
            Operation::Modulo => return self.divide(MODULO, operand),
            Operation::And => AND,
            Operation::Or => OR,
            Operation::Xor => XOR,
            Operation::ShiftLeft => return self.shift(SHIFT_LEFT, operand),
            Operation::ShiftRight => return self.shift(SHIFT_RIGHT, operand),
        };
        self.to.compute(Bits::B32, code, A, source(operand));
    }

    /// A division by 0 ends the run; the machine's own result would be another.
    fn divide(&mut self, code: u8, operand: Operand) {
        match operand {
            Operand::Constant(0) => return self.to.jump(self.reject),
            Operand::Constant(_) => {}
            Operand::X => self.to.jump_if(Bits::B32, EQUAL, X, Source::Immediate(0), self.reject),
        }
        self.to.compute(Bits::B32, code, A, source(operand));
    }

    /// All bits are lost at 32 and more; the machine takes the lowest five bits of the operand.
    fn shift(&mut self, code: u8, operand: Operand) {
        if let Operand::Constant(32..) = operand {
            return self.to.compute(Bits::B32, MOVE, A, Source::Immediate(0));
        }
        if operand == Operand::X {
            let within = self.to.label();
            self.to.jump_if(Bits::B32, LESS, X, Source::Immediate(u32::BITS), within);
            self.to.compute(Bits::B32, MOVE, A, Source::Immediate(0));
            self.to.bind(within);
        }
        self.to.compute(Bits::B32, code, A, source(operand));
    }
}

const fn source(operand: Operand) -> Source {
    match operand {
        Operand::Constant(number) => Source::Immediate(number),
        Operand::X => Source::Of(X),
    }
}

const fn comparison_code(comparison: Comparison) -> u8 {
    match comparison {
        Comparison::Equal => EQUAL,
        Comparison::Greater => GREATER,
        Comparison::GreaterOrEqual => GREATER_OR_EQUAL,
        Comparison::AnyBit => ANY_BIT,
    }
}
