//! The built object, fitted to this kernel before it is loaded.

use std::collections::HashSet;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use tracer_common::CALL_RDONLY_CAST;

use super::Error;

/// Bytes of a BPF instruction (`struct bpf_insn`, `include/uapi/linux/bpf.h`).
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`, and the source register that makes it a call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
const CALL: u8 = 0x85;
const PSEUDO_KFUNC_CALL: u8 = 2;
/// `BPF_ALU64 | BPF_MOV | BPF_K`: register 0 becomes the immediate.
const MOVE_IMMEDIATE: u8 = 0xb7;
/// `BPF_MAP_TYPE_ARRAY`, and the size of the keys of an array.
const MAP_TYPE_ARRAY: u32 = 2;
const ARRAY_KEY_SIZE: u32 = 4;

/// What this kernel and this run need of the object.
pub(super) struct Fitting<'a> {
    /// BTF id of the kernel function `bpf_rdonly_cast`; none where the program does not use it.
    pub(super) rdonly_cast: Option<u32>,
    /// Ring buffers that this run does not use, by name. They become arrays of one element, so that nothing is lost where
    /// the kernel has no ring buffers.
    pub(super) unused_rings: &'a [&'static str],
}

/// The object's bytes for this kernel.
pub(super) fn fitted(object: &[u8], fitting: &Fitting<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = object.to_vec();
    let file = object::File::parse(object).map_err(|_| Error::Missing { what: "ELF header" })?;
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let mut calls = 0;
    for (start, size) in code.filter_map(|section| section.file_range()) {
        let range = slice(&mut bytes, start, size)?;
        calls += range.chunks_exact_mut(INSTRUCTION).filter_map(|one| replace_cast(one, fitting.rdonly_cast)).count();
    }
    if calls == 0 {
        return Err(Error::Missing { what: "call of bpf_rdonly_cast" });
    }
    let unused: HashSet<&str> = fitting.unused_rings.iter().copied().collect();
    for symbol in file.symbols().filter(|symbol| symbol.name().is_ok_and(|name| unused.contains(name))) {
        let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
        let (start, _) = section.and_then(|section| section.file_range()).ok_or(Error::Missing { what: "maps" })?;
        make_array(slice(&mut bytes, start + symbol.address(), symbol.size())?)?;
    }
    Ok(bytes)
}

fn slice(bytes: &mut [u8], start: u64, size: u64) -> Result<&mut [u8], Error> {
    let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(size)).ok());
    range.and_then(|(start, end)| bytes.get_mut(start..end)).ok_or(Error::Missing { what: "section" })
}

fn replace_cast(instruction: &mut [u8], function: Option<u32>) -> Option<()> {
    let immediate = u32::from_le_bytes(instruction.get(4..8)?.try_into().ok()?);
    if instruction[0] != CALL || instruction[1] != 0 || immediate != CALL_RDONLY_CAST {
        return None;
    }
    match function {
        Some(id) => {
            instruction[1] = PSEUDO_KFUNC_CALL << 4;
            instruction[4..8].copy_from_slice(&id.to_le_bytes());
        }
        // Never reached: `Config::reads` rules it out.
        None => instruction.copy_from_slice(&[MOVE_IMMEDIATE, 0, 0, 0, 0, 0, 0, 0]),
    }
    Some(())
}

/// `definition` is a `struct bpf_map_def`: type, sizes of key and value, number of elements.
fn make_array(definition: &mut [u8]) -> Result<(), Error> {
    let fields = definition.get_mut(..16).ok_or(Error::Missing { what: "map definition" })?;
    for (field, value) in fields.chunks_exact_mut(4).zip([MAP_TYPE_ARRAY, ARRAY_KEY_SIZE, 8, 1]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(bytes: &[u8], first: [u8; 2], immediate: u32) -> usize {
        let file = object::File::parse(bytes).unwrap();
        let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
        let wanted = [&[first[0], first[1], 0, 0][..], &immediate.to_le_bytes()].concat();
        code.map(|section| section.data().unwrap().chunks_exact(8).filter(|one| **one == wanted[..]).count()).sum()
    }

    #[test]
    fn every_cast_calls_the_function_or_nothing() {
        let placeholder = calls(tracer_ebpf::OBJECT, [CALL, 0], CALL_RDONLY_CAST);
        assert!(placeholder > 10, "{placeholder}");
        let with = fitted(tracer_ebpf::OBJECT, &Fitting { rdonly_cast: Some(77), unused_rings: &[] }).unwrap();
        assert_eq!(calls(&with, [CALL, 0x20], 77), placeholder);
        assert_eq!(calls(&with, [CALL, 0], CALL_RDONLY_CAST), 0);
        let without = fitted(tracer_ebpf::OBJECT, &Fitting { rdonly_cast: None, unused_rings: &[] }).unwrap();
        assert_eq!(calls(&without, [CALL, 0], CALL_RDONLY_CAST), 0);
        assert_eq!(calls(&without, [CALL, 0x20], 77), 0);
    }

    #[test]
    fn unused_rings_become_arrays_and_other_maps_stay() {
        let unused = Fitting { rdonly_cast: None, unused_rings: &["RECORDS"] };
        let fitted = fitted(tracer_ebpf::OBJECT, &unused).unwrap();
        let definition = |bytes: &[u8], name: &str| {
            let file = object::File::parse(bytes).unwrap();
            let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap();
            let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
            let start = usize::try_from(symbol.address()).unwrap();
            section.data().unwrap()[start..start + 16].to_vec()
        };
        let array = [2_u32, 4, 8, 1].map(u32::to_le_bytes).concat();
        assert_eq!(definition(&fitted, "RECORDS"), array);
        for other in ["AYA_LOGS", "COUNTS"] {
            assert_eq!(definition(&fitted, other), definition(tracer_ebpf::OBJECT, other));
        }
    }
}
