//! Assembles instructions of eBPF (`Documentation/bpf/standardization/instruction-set.rst`), with forward jumps to labels.

use aya_obj::generated::bpf_insn;

/// A register of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    /// Results of calls; lost at a call, as R1 to R5 are.
    R0 = 0,
    R1 = 1,
    R2 = 2,
    R3 = 3,
    /// Kept across calls, as the next ones are.
    R6 = 6,
    R7 = 7,
    R8 = 8,
    /// The end of the stack.
    R10 = 10,
}

/// The second operand of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A number. Instructions of 64 bits extend it by its sign.
    Immediate(u32),
    Of(Register),
}

/// The size of a load or store, as its bits in the code.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    Byte = 0x10,
    Half = 0x08,
    Word = 0x00,
    Double = 0x18,
}

/// Whether an operation or a comparison takes the lower 32 bits, and clears the upper ones, or all 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    B32,
    B64,
}

/// Operations, as the bits of their codes (`include/uapi/linux/bpf.h`).
pub(super) const ADD: u8 = 0x00;
pub(super) const SUBTRACT: u8 = 0x10;
pub(super) const MULTIPLY: u8 = 0x20;
pub(super) const DIVIDE: u8 = 0x30;
pub(super) const OR: u8 = 0x40;
pub(super) const AND: u8 = 0x50;
pub(super) const SHIFT_LEFT: u8 = 0x60;
pub(super) const SHIFT_RIGHT: u8 = 0x70;
pub(super) const MODULO: u8 = 0x90;
pub(super) const XOR: u8 = 0xa0;
pub(super) const MOVE: u8 = 0xb0;
/// Comparisons, likewise.
pub(super) const EQUAL: u8 = 0x10;
pub(super) const GREATER: u8 = 0x20;
pub(super) const GREATER_OR_EQUAL: u8 = 0x30;
pub(super) const ANY_BIT: u8 = 0x40;
pub(super) const NOT_EQUAL: u8 = 0x50;
pub(super) const LESS: u8 = 0xa0;
pub(super) const LESS_OR_EQUAL: u8 = 0xb0;

const BPF_X: u8 = 0x08;
const BPF_ALU: u8 = 0x04;
const BPF_ALU64: u8 = 0x07;
const BPF_JMP: u8 = 0x05;
const BPF_JMP32: u8 = 0x06;
/// `BPF_LDX | BPF_MEM`, `BPF_STX | BPF_MEM` and `BPF_ST | BPF_MEM`.
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const STORE_NUMBER: u8 = 0x62;
/// `BPF_LD | BPF_IMM | BPF_DW`, of two slots.
const WIDE: u8 = 0x18;
/// `BPF_ALU | BPF_END | BPF_TO_BE`: converts to big-endian, and clears the bits beyond.
const FROM_NETWORK: u8 = 0xdc;
const JUMP: u8 = 0x05;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The source register of a call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
const KERNEL_FUNCTION: u8 = 2;

/// A position in the code to which jumps lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A jump that spans more than 32,767 instructions, which the machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFar;

/// Code under construction.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<bpf_insn>,
    /// Jumps and their labels.
    jumps: Vec<(usize, Label)>,
    /// The positions of the labels.
    positions: Vec<Option<usize>>,
}

impl Assembler {
    /// A new label, which has no position yet.
    pub(super) fn label(&mut self) -> Label {
        self.positions.push(None);
        Label(self.positions.len() - 1)
    }

    /// Puts a label before the next instruction.
    pub(super) fn bind(&mut self, label: Label) {
        if let Some(position) = self.positions.get_mut(label.0) {
            *position = Some(self.code.len());
        }
    }

    /// Whether a jump leads to the label.
    pub(super) fn is_used(&self, label: Label) -> bool {
        self.jumps.iter().any(|(_, to)| *to == label)
    }

    /// `to = to OPERATION source`.
    pub(super) fn compute(&mut self, bits: Bits, operation: u8, to: Register, source: Source) {
        let class = if bits == Bits::B32 { BPF_ALU } else { BPF_ALU64 };
        self.push_with(class | operation, to, source, 0);
    }

    /// `to = number`, of 64 bits.
    pub(super) fn number(&mut self, to: Register, number: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let [lower, upper] = [number as u32, (number >> u32::BITS) as u32];
        if upper == 0 {
            return self.compute(Bits::B32, MOVE, to, Source::Immediate(lower));
        }
        self.push(WIDE, to as u8, 0, 0, lower);
        self.push(0, 0, 0, 0, upper);
    }

    /// `to = *(from + offset)`.
    pub(super) fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.push(LOAD | width as u8, to as u8, from as u8, offset, 0);
    }

    /// `*(to + offset) = from`.
    pub(super) fn store(&mut self, width: Width, to: Register, offset: i16, from: Register) {
        self.push(STORE | width as u8, to as u8, from as u8, offset, 0);
    }

    /// `*(to + offset) = number`.
    pub(super) fn store_number(&mut self, width: Width, to: Register, offset: i16, number: u32) {
        self.push(STORE_NUMBER | width as u8, to as u8, 0, offset, number);
    }

    /// Converts so many bits from network byte order.
    pub(super) fn swap_from_network(&mut self, register: Register, bits: u32) {
        self.push(FROM_NETWORK, register as u8, 0, 0, bits);
    }

    /// Calls a helper by its number.
    pub(super) fn call_helper(&mut self, number: u32) {
        self.push(CALL, 0, 0, 0, number);
    }

    /// Calls a kernel function by its BTF id.
    pub(super) fn call_kernel(&mut self, id: u32) {
        self.push(CALL, 0, KERNEL_FUNCTION, 0, id);
    }

    /// Jumps to the label.
    pub(super) fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP, 0, 0, 0, 0);
    }

    /// Jumps to the label if `register COMPARISON source`.
    pub(super) fn jump_if(&mut self, bits: Bits, comparison: u8, register: Register, source: Source, label: Label) {
        self.jumps.push((self.code.len(), label));
        let class = if bits == Bits::B32 { BPF_JMP32 } else { BPF_JMP };
        self.push_with(class | comparison, register, source, 0);
    }

    /// Returns a number.
    pub(super) fn exit(&mut self, result: u32) {
        self.compute(Bits::B32, MOVE, Register::R0, Source::Immediate(result));
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// The code with the distances of all jumps.
    pub(super) fn finish(mut self) -> Result<Vec<bpf_insn>, TooFar> {
        for (at, Label(label)) in self.jumps {
            let position = self.positions.get(label).copied().flatten().ok_or(TooFar)?;
            let distance = position.checked_sub(at + 1).ok_or(TooFar)?;
            let Some(jump) = self.code.get_mut(at) else { return Err(TooFar) };
            jump.off = i16::try_from(distance).map_err(|_| TooFar)?;
        }
        Ok(self.code)
    }

    fn push_with(&mut self, code: u8, to: Register, source: Source, offset: i16) {
        match source {
            Source::Immediate(number) => self.push(code, to as u8, 0, offset, number),
            Source::Of(register) => self.push(code | BPF_X, to as u8, register as u8, offset, 0),
        }
    }

    fn push(&mut self, code: u8, destination: u8, source: u8, off: i16, number: u32) {
        self.code.push(bpf_insn {
            code,
            _bitfield_align_1: [],
            _bitfield_1: bpf_insn::new_bitfield_1(destination, source),
            off,
            imm: number.cast_signed(),
        });
    }
}
