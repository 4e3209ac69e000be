//! The machine that runs translated code in tests. As the verifier does, it refuses reads of registers and memory that
//! nothing has written, and accesses beyond known memory.

#![expect(
    clippy::cast_possible_truncation,
    reason = "registers have 64 bits, of which instructions use the lower ones"
)]

use aya_obj::generated::bpf_insn;
use tracer_common::CpuState;
use zerocopy::IntoBytes;

/// Where the parts of memory are.
pub(super) const STATE_AT: u64 = 0xffff_8880_0000_1000;
pub(super) const PACKET_AT: u64 = 0xffff_8881_7fff_fff5;
const STACK_END: u64 = 0xffff_c900_0000_0000;
const STACK: usize = 512;
/// The BTF id of `bpf_rdonly_cast`, and of the only type.
pub(super) const CAST: u32 = 4_711;
pub(super) const IN6_ADDR: u32 = 815;

/// A machine with one packet in its memory.
pub(super) struct Machine<'a> {
    state: &'a CpuState,
    packet: &'a [u8],
    registers: [Option<u64>; 11],
    stack: [Option<u8>; STACK],
}

impl<'a> Machine<'a> {
    pub(super) fn new(state: &'a CpuState, packet: &'a [u8]) -> Self {
        let mut registers = [None; 11];
        (registers[1], registers[10]) = (Some(STATE_AT), Some(STACK_END));
        Self { state, packet, registers, stack: [None; STACK] }
    }

    /// Runs the code to its end, and returns its result.
    pub(super) fn run(mut self, code: &[bpf_insn]) -> u64 {
        let mut next = 0;
        loop {
            let one = code[next];
            next += 1;
            match (one.code & 7, one.code & 0xf0) {
                (0, _) => {
                    let upper = code[next].imm.cast_unsigned();
                    self.set(one.dst_reg(), u64::from(one.imm.cast_unsigned()) | u64::from(upper) << 32);
                    next += 1;
                }
                (1, _) => {
                    let address = self.get(one.src_reg()).wrapping_add_signed(one.off.into());
                    let value = self.load(address, width(one));
                    self.set(one.dst_reg(), value);
                }
                (2 | 3, _) => self.store(one),
                (4 | 7, _) => self.compute(one),
                (5, 0x90) => return self.get(0),
                (5, 0x80) => self.call(one),
                _ => {
                    if self.jumps(one) {
                        next += usize::try_from(one.off).expect("a jump back");
                    }
                }
            }
        }
    }

    fn get(&self, register: u8) -> u64 {
        self.registers[usize::from(register)].expect("a register that nothing has written")
    }

    fn set(&mut self, register: u8, value: u64) {
        assert_ne!(register, 10, "the stack's end is not writable");
        self.registers[usize::from(register)] = Some(value);
    }

    fn operand(&self, one: bpf_insn) -> u64 {
        if one.code & 8 == 0 { i64::from(one.imm).cast_unsigned() } else { self.get(one.src_reg()) }
    }

    fn load(&self, address: u64, size: usize) -> u64 {
        let bytes: Vec<u8> = (0..size as u64).map(|at| self.byte(address + at)).collect();
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn byte(&self, address: u64) -> u8 {
        let within =
            |start: u64, length: usize| address.checked_sub(start).map(|at| at as usize).filter(|at| *at < length);
        if let Some(at) = within(PACKET_AT, self.packet.len()) {
            return self.packet[at];
        }
        if let Some(at) = within(STATE_AT, size_of::<CpuState>()) {
            return self.state.as_bytes()[at];
        }
        let at = within(STACK_END - STACK as u64, STACK).unwrap_or_else(|| panic!("no memory at {address:#x}"));
        self.stack[at].expect("memory that nothing has written")
    }

    fn store(&mut self, one: bpf_insn) {
        let value = if one.code & 7 == 3 { self.get(one.src_reg()) } else { i64::from(one.imm).cast_unsigned() };
        let address = self.get(one.dst_reg()).wrapping_add_signed(one.off.into());
        self.write(address, &value.to_le_bytes()[..width(one)]);
    }

    fn write(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - (STACK_END - STACK as u64)) as usize;
        for (to, byte) in self.stack[at..][..bytes.len()].iter_mut().zip(bytes) {
            *to = Some(*byte);
        }
    }

    fn call(&mut self, one: bpf_insn) {
        let [first, second] = [1, 2].map(|register| self.get(register));
        let result = if one.src_reg() == 2 {
            assert_eq!((one.imm.cast_unsigned(), second), (CAST, IN6_ADDR.into()));
            first
        } else {
            assert_eq!(one.imm, 113, "bpf_probe_read_kernel");
            let bytes: Vec<u8> = (0..second).map(|at| self.byte(self.get(3) + at)).collect();
            self.write(first, &bytes);
            0
        };
        self.registers[1..6].fill(None);
        self.set(0, result);
    }

    fn compute(&mut self, one: bpf_insn) {
        let operation = one.code & 0xf0;
        let register = one.dst_reg();
        if operation == 0xd0 {
            let value = self.get(register);
            let swapped = if one.imm == 16 { (value as u16).to_be().into() } else { (value as u32).to_be().into() };
            return self.set(register, swapped);
        }
        let operand = self.operand(one);
        let old = if operation == 0xb0 { 0 } else { self.get(register) };
        let value = if one.code & 7 == 4 {
            u64::from(compute_32(operation, old as u32, operand as u32))
        } else {
            match operation {
                0x00 => old.wrapping_add(operand),
                0xb0 => operand,
                other => panic!("operation {other:#x} of 64 bits"),
            }
        };
        self.set(register, value);
    }

    fn jumps(&self, one: bpf_insn) -> bool {
        if one.code == 0x05 {
            return true;
        }
        let (mut left, mut right) = (self.get(one.dst_reg()), self.operand(one));
        if one.code & 7 == 6 {
            (left, right) = (u64::from(left as u32), u64::from(right as u32));
        }
        match one.code & 0xf0 {
            0x10 => left == right,
            0x20 => left > right,
            0x30 => left >= right,
            0x40 => left & right != 0,
            0x50 => left != right,
            0xa0 => left < right,
            0xb0 => left <= right,
            other => panic!("comparison {other:#x}"),
        }
    }
}

fn width(one: bpf_insn) -> usize {
    match one.code & 0x18 {
        0x10 => 1,
        0x08 => 2,
        0x00 => 4,
        _ => 8,
    }
}

fn compute_32(operation: u8, old: u32, operand: u32) -> u32 {
    match operation {
        0x00 => old.wrapping_add(operand),
        0x10 => old.wrapping_sub(operand),
        0x20 => old.wrapping_mul(operand),
        // As the kernel does.
        0x30 => old.checked_div(operand).unwrap_or(0),
        0x90 => old.checked_rem(operand).unwrap_or(old),
        0x40 => old | operand,
        0x50 => old & operand,
        0x60 => old.wrapping_shl(operand),
        0x70 => old.wrapping_shr(operand),
        0xa0 => old ^ operand,
        0xb0 => operand,
        other => panic!("operation {other:#x}"),
    }
}
