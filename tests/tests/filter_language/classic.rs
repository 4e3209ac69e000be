//! The code of tcpdump: classic BPF, as `tcpdump -ddd` prints it, and a machine that runs it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tests::trials::Unable;

/// One instruction (`struct sock_filter`, `include/uapi/linux/filter.h`).
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    then: u8,
    otherwise: u8,
    constant: u32,
}

/// The code of an expression, for Ethernet.
pub(crate) struct Program(Vec<Instruction>);

impl Program {
    /// The code as tcpdump writes it before optimization.
    pub(crate) fn of(expression: &str) -> Result<Self> {
        Self::compiled(&["-O"], expression)
    }

    /// The code as tcpdump uses it.
    pub(crate) fn optimized(expression: &str) -> Result<Self> {
        Self::compiled(&[], expression)
    }

    fn compiled(options: &[&str], expression: &str) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        command.args(["-y", "EN10MB", "-ddd"]).args(options).args(["--", expression]);
        let output = command.output().map_err(|error| Unable(format!("cannot start tcpdump: {error}")))?;
        let reported = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tcpdump refuses `{expression}`: {reported}");
        let text = String::from_utf8(output.stdout)?;
        let instructions = text.lines().skip(1).map(instruction).collect::<Option<Vec<_>>>();
        Ok(Self(instructions.with_context(|| format!("tcpdump prints {text}"))?))
    }

    /// Whether a packet matches, of which only the first bytes may be there; `length` is that of the whole packet.
    pub(crate) fn matches(&self, bytes: &[u8], length: u32) -> bool {
        Machine { bytes, length, a: 0, x: 0, memory: [0; 16] }.run(&self.0).is_some_and(|result| result != 0)
    }
}

/// A line: `CODE THEN OTHERWISE CONSTANT`.
fn instruction(line: &str) -> Option<Instruction> {
    let numbers: Vec<u32> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [code, then, otherwise, constant] = *numbers else { return None };
    let (then, otherwise) = (then.try_into().ok()?, otherwise.try_into().ok()?);
    Some(Instruction { code: code.try_into().ok()?, then, otherwise, constant })
}

struct Machine<'p> {
    bytes: &'p [u8],
    length: u32,
    a: u32,
    x: u32,
    memory: [u32; 16],
}

impl Machine<'_> {
    /// `None` for a load beyond the bytes or a division by 0.
    fn run(&mut self, code: &[Instruction]) -> Option<u32> {
        let mut at = 0;
        loop {
            let instruction = *code.get(at)?;
            at += 1;
            let constant = instruction.constant;
            match instruction.code & 7 {
                0 => self.a = self.loaded(instruction)?,
                1 => self.x = self.loaded(instruction)?,
                2 => self.memory[constant as usize] = self.a,
                3 => self.memory[constant as usize] = self.x,
                4 => self.a = self.computed(instruction)?,
                5 => at += self.distance(instruction)?,
                6 => return Some(constant),
                _ if instruction.code & 0x80 == 0 => self.x = self.a,
                _ => self.a = self.x,
            }
        }
    }

    fn loaded(&self, instruction: Instruction) -> Option<u32> {
        let constant = instruction.constant;
        let size = [4, 2, 1][usize::from(instruction.code >> 3 & 3)];
        match instruction.code & 0xe0 {
            0x00 => Some(constant),
            0x20 => self.bytes(constant.into(), size),
            0x40 => self.bytes(u64::from(constant) + u64::from(self.x), size),
            0x60 => Some(self.memory[constant as usize]),
            0x80 => Some(self.length),
            0xa0 => Some(4 * (self.bytes(constant.into(), 1)? & 15)),
            _ => None,
        }
    }

    fn bytes(&self, at: u64, size: usize) -> Option<u32> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// The constant, or `X`.
    fn operand(&self, instruction: Instruction) -> u32 {
        if instruction.code & 8 == 0 { instruction.constant } else { self.x }
    }

    fn computed(&self, instruction: Instruction) -> Option<u32> {
        let (a, operand) = (self.a, self.operand(instruction));
        Some(match instruction.code & 0xf0 {
            0x00 => a.wrapping_add(operand),
            0x10 => a.wrapping_sub(operand),
            0x20 => a.wrapping_mul(operand),
            0x30 => a.checked_div(operand)?,
            0x40 => a | operand,
            0x50 => a & operand,
            0x60 => a.checked_shl(operand).unwrap_or(0),
            0x70 => a.checked_shr(operand).unwrap_or(0),
            0x80 => a.wrapping_neg(),
            0x90 => a.checked_rem(operand)?,
            0xa0 => a ^ operand,
            _ => return None,
        })
    }

    fn distance(&self, instruction: Instruction) -> Option<usize> {
        let (a, operand) = (self.a, self.operand(instruction));
        let holds = match instruction.code & 0xf0 {
            0x00 => return usize::try_from(instruction.constant).ok(),
            0x10 => a == operand,
            0x20 => a > operand,
            0x30 => a >= operand,
            0x40 => a & operand != 0,
            _ => return None,
        };
        Some(usize::from(if holds { instruction.then } else { instruction.otherwise }))
    }
}
