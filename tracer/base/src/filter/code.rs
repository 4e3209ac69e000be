//! The compiled form of a filter: the code of a small machine, which userspace runs and the eBPF backend translates.
//!
//! The machine is that of classic BPF (`Documentation/networking/filter.rst`): an accumulator `A`, an index register `X` and
//! memory, all of 32 bits, unsigned and wrapping; jumps go forward only. It differs in three points: a load names the header that
//! it counts from, facts that no byte of the packet has are loaded by name, and a [`Op::Test`] asks a question about the
//! drop itself.
//!
//! A load beyond the readable bytes ends the run without a match, also within `not`, and so does a division by 0.

/// The header from which a load counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The Ethernet header. A packet without one has no bytes here.
    Link,
    /// The network header, behind all VLAN tags. A packet whose network header is unknown has no bytes here.
    Network,
}

/// Bytes of a load, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    Byte = 1,
    /// Two bytes.
    Half = 2,
    /// Four bytes.
    Word = 4,
}

/// A number that is known beside the packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The packet's length in bytes, from its first known header on.
    Length,
    /// The `EtherType` behind all VLAN tags (`skb->protocol`); 0 where it is unknown.
    Protocol,
    /// The outermost VLAN tag: [`TAGGED`] and its 16 bits (TCI: priority and VLAN); 0 without a tag.
    VlanTag,
}

/// The bit of [`Number::VlanTag`] that says that there is a tag.
pub const TAGGED: u32 = 0x1_0000;

/// The second operand of an operation or comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A constant.
    Constant(u32),
    /// The index register.
    X,
}

/// An operation on the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `A + operand`.
    Add,
    /// `A - operand`.
    Subtract,
    /// `A * operand`.
    Multiply,
    /// `A / operand`.
    Divide,
    /// The rest of `A / operand`.
    Modulo,
    /// `A & operand`.
    And,
    /// `A | operand`.
    Or,
    /// `A ^ operand`.
    Xor,
    /// `A << operand`; 0 if the operand is 32 or more.
    ShiftLeft,
    /// `A >> operand`; 0 if the operand is 32 or more.
    ShiftRight,
}

/// A comparison of the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `A == operand`.
    Equal,
    /// `A > operand`.
    Greater,
    /// `A >= operand`.
    GreaterOrEqual,
    /// `A & operand != 0`.
    AnyBit,
}

/// Words of memory.
pub const MEMORY: usize = 16;

/// Most instructions of a filter.
pub const MAX_OPS: usize = 4_096;

/// An instruction. A jump's distances count from the next instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `A` = the bytes at `base + offset`, or `base + X + offset` if indexed.
    Load {
        /// The header.
        base: Base,
        /// The number of bytes.
        size: Size,
        /// Whether `X` is added.
        indexed: bool,
        /// The distance from the header, in bytes.
        offset: u32,
    },
    /// `A` = a number known beside the bytes.
    Number(Number),
    /// `A` = a constant.
    Constant(u32),
    /// `memory[n] = A`.
    Store(u8),
    /// `A = memory[n]`.
    Recall(u8),
    /// `X = A`.
    ToX,
    /// `A = X`.
    FromX,
    /// `A = A operation operand`.
    Compute(Operation, Operand),
    /// Jumps on a comparison of `A`.
    Jump {
        /// The comparison.
        comparison: Comparison,
        /// Its second operand.
        operand: Operand,
        /// Instructions to skip if it holds.
        then: u16,
        /// Instructions to skip if it does not hold.
        otherwise: u16,
    },
    /// Jumps on the answer to one of the filter's questions about the drop.
    Test {
        /// The index of the question.
        question: u16,
        /// Instructions to skip if the answer is yes.
        then: u16,
        /// Instructions to skip if it is no, or unknown.
        otherwise: u16,
    },
    /// Ends the run: whether the drop matches.
    Return(bool),
}
