//! Writes the values of [`Config`] into the instructions of the kernel program, which has placeholders for them.

use aya_obj::Object;
use aya_obj::generated::bpf_insn;
use tracer_common::{ABSENT, CONSTANT, Config, FIELD};
use zerocopy::IntoBytes;

/// `BPF_ALU64 | BPF_MOV | BPF_K`, and the same of 32 bits, which clears the register's upper half.
const MOVE: u8 = 0xb7;
const MOVE_32: u8 = 0xb4;
/// `BPF_LD | BPF_IMM | BPF_DW`: the first of two slots, of which the second has the upper half of the number.
const MOVE_64: u8 = 0x18;
/// `BPF_LDX | BPF_MEM` of four, two, one and eight bytes.
const LOADS: [u8; 4] = [0x61, 0x69, 0x71, 0x79];

/// Reason why a program cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// The object belongs to another version of droptrace.
    #[error("an instruction stands for a number that does not exist")]
    Unknown,
    /// The offset does not fit a load's signed 16 bits.
    #[error("a field of the kernel stands at byte {0}, too far away for a load")]
    TooFar(u32),
}

/// Replaces all placeholders with the values of `config`. Returns the number of replaced instructions.
pub(super) fn write(object: &mut Object, config: &Config) -> Result<usize, Unfit> {
    let mut written = 0;
    for function in object.functions.values_mut() {
        let mut rest = function.instructions.as_mut_slice();
        while let [instruction, after @ ..] = rest {
            let is_wide = instruction.code == MOVE_64;
            let replaced = match after {
                [upper, ..] if is_wide => replace_wide(instruction, upper, config)?,
                _ => replace(instruction, config)?,
            };
            written += usize::from(replaced);
            rest = if is_wide { after.get_mut(1..).unwrap_or_default() } else { after };
        }
    }
    Ok(written)
}

/// The offset in [`Config`] of the value that an instruction stands for; absent for an instruction that is no
/// placeholder.
fn marked(immediate: i32) -> Option<usize> {
    let number = immediate.cast_unsigned();
    (number & 0xffff_0000 == CONSTANT).then_some((number & 0xffff) as usize)
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Unfit> {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().ok_or(Unfit::Unknown)
}

fn replace_wide(lower: &mut bpf_insn, upper: &mut bpf_insn, config: &Config) -> Result<bool, Unfit> {
    let Some(at) = marked(lower.imm).filter(|_| lower.src_reg() == 0 && upper.imm.cast_unsigned() == CONSTANT) else {
        return Ok(false);
    };
    // The lower half comes first, because the object is made for little-endian machines.
    [lower.imm, upper.imm] = zerocopy::transmute!(read::<8>(config.as_bytes(), at)?);
    Ok(true)
}

fn replace(instruction: &mut bpf_insn, config: &Config) -> Result<bool, Unfit> {
    if instruction.code == MOVE {
        let Some(at) = marked(instruction.imm) else { return Ok(false) };
        instruction.code = MOVE_32;
        instruction.imm = i32::from_ne_bytes(read(config.as_bytes(), at)?);
        return Ok(true);
    }
    let beyond = u16::try_from(instruction.off).ok().and_then(|offset| offset.checked_sub(FIELD));
    let Some(field) = beyond.filter(|_| LOADS.contains(&instruction.code)) else { return Ok(false) };
    let (index, word) = (usize::from(field / 8), u32::from(field % 8));
    let offset = u32::from_ne_bytes(read(config.offsets.as_bytes(), index * size_of::<u32>())?);
    if offset == ABSENT {
        instruction.code = MOVE;
        instruction.set_src_reg(0);
        (instruction.off, instruction.imm) = (0, 0);
    } else {
        let word_offset = offset.saturating_add(word * (u64::BITS / u8::BITS));
        instruction.off = word_offset.try_into().map_err(|_| Unfit::TooFar(word_offset))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use aya_obj::generated::__BindgenBitfieldUnit;
    use tracer_common::CALL_RDONLY_CAST;
    use zerocopy::FromZeros;

    use super::*;

    const EXIT: bpf_insn =
        bpf_insn { code: 0x95, _bitfield_align_1: [], _bitfield_1: __BindgenBitfieldUnit::new([0]), off: 0, imm: 0 };

    fn config() -> Config {
        let mut config = Config::new_zeroed();
        config.kernel_space = 0xffff_8000_0000_0123;
        config.tick_ns = u32::MAX;
        config.offsets.skb_len = 112;
        config.offsets.skb_mark = ABSENT;
        config.offsets.dev_name = 0x7fff;
        config
    }

    fn instruction(code: u8, off: i16, imm: u32) -> bpf_insn {
        let mut instruction = bpf_insn { code, off, imm: imm.cast_signed(), ..EXIT };
        instruction.set_dst_reg(3);
        instruction.set_src_reg(if LOADS.contains(&code) { 5 } else { 0 });
        instruction
    }

    fn field(at: usize, word: u16) -> i16 {
        i16::try_from(FIELD + u16::try_from(at).unwrap() * 2 + word).unwrap()
    }

    fn shape(instruction: bpf_insn) -> (u8, u8, u8, i16, u32) {
        let bpf_insn { code, off, imm, .. } = instruction;
        (code, instruction.dst_reg(), instruction.src_reg(), off, imm.cast_unsigned())
    }

    fn replaced(code: u8, off: i16, imm: u32) -> Result<(u8, u8, u8, i16, u32), Unfit> {
        let mut instruction = instruction(code, off, imm);
        assert!(replace(&mut instruction, &config())?);
        Ok(shape(instruction))
    }

    #[test]
    fn a_number_becomes_a_move_of_32_bits() {
        let at = u32::try_from(core::mem::offset_of!(Config, tick_ns)).unwrap();
        assert_eq!(replaced(MOVE, 0, CONSTANT | at), Ok((MOVE_32, 3, 0, 0, u32::MAX)));
        assert_eq!(replaced(MOVE, 0, CONSTANT | 0xffff), Err(Unfit::Unknown));
    }

    #[test]
    fn a_field_becomes_an_offset_or_zero() {
        let at = |field: usize| field - core::mem::offset_of!(Config, offsets);
        let (len, mark, name) = (
            at(core::mem::offset_of!(Config, offsets.skb_len)),
            at(core::mem::offset_of!(Config, offsets.skb_mark)),
            at(core::mem::offset_of!(Config, offsets.dev_name)),
        );
        assert_eq!(replaced(0x61, field(len, 0), 0), Ok((0x61, 3, 5, 112, 0)));
        assert_eq!(replaced(0x79, field(len, 3), 0), Ok((0x79, 3, 5, 136, 0)));
        assert_eq!(replaced(0x61, field(mark, 1), 0), Ok((MOVE, 3, 0, 0, 0)));
        assert_eq!(replaced(0x79, field(name, 0), 0), Ok((0x79, 3, 5, 0x7fff, 0)));
        assert_eq!(replaced(0x79, field(name, 1), 0), Err(Unfit::TooFar(0x8007)));
        assert_eq!(replaced(0x79, field(size_of_val(&config().offsets), 0), 0), Err(Unfit::Unknown));
    }

    #[test]
    fn a_wide_number_fills_both_halves() {
        let (mut lower, mut upper) = (instruction(MOVE_64, 0, CONSTANT), instruction(0, 0, CONSTANT));
        assert_eq!(replace_wide(&mut lower, &mut upper, &config()), Ok(true));
        assert_eq!([lower.imm, upper.imm].map(i32::cast_unsigned), [0x0000_0123, 0xffff_8000]);
    }

    #[test]
    fn all_else_stays() {
        for (code, off, imm) in
            [(MOVE, 0, 5), (MOVE_32, 0, CONSTANT), (0x61, 0x6fff, 0), (0x61, -8, 0), (0x63, i16::MAX, 0), (0x85, 0, 5)]
        {
            let mut instruction = instruction(code, off, imm);
            let before = shape(instruction);
            assert_eq!((replace(&mut instruction, &config()), shape(instruction)), (Ok(false), before));
        }
        let (mut lower, mut upper) = (instruction(MOVE_64, 0, CONSTANT), instruction(0, 0, 7));
        assert_eq!(replace_wide(&mut lower, &mut upper, &config()), Ok(false));
    }

    /// Instructions that look like placeholders, of whatever form: with their number, but no second slot and no call of
    /// a cast, or with an offset that no structure of droptrace has.
    fn open(object: &Object) -> usize {
        let code = object.functions.values().flat_map(|function| &function.instructions);
        let is_open = |one: &&bpf_insn| {
            let (number, is_call) = (one.imm.cast_unsigned(), one.code == 0x85);
            let is_number = number >> 16 == CONSTANT >> 16 && one.code != 0 && !(is_call && number == CALL_RDONLY_CAST);
            is_number || (one.code & 7 == 1 || one.code & 7 == 3) && one.off >= 0x7000
        };
        code.filter(is_open).count()
    }

    #[test]
    fn nothing_is_left_open_in_the_object() {
        let mut object = Object::parse(tracer_ebpf::OBJECT).unwrap();
        let written = write(&mut object, &config()).unwrap_err();
        assert_eq!(written, Unfit::TooFar(0x8007));
        let mut object = Object::parse(tracer_ebpf::OBJECT).unwrap();
        let placeholders = open(&object);
        assert_eq!(write(&mut object, &Config::new_zeroed()), Ok(placeholders));
        assert!(placeholders > 100 && open(&object) == 0, "{placeholders}, then {}", open(&object));
    }
}
