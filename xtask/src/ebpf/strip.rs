//! Removes the DWARF from a linked object. BTF, which the kernel needs, stays.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// Returns the object without its `.debug_*` sections and their relocations and symbols.
pub(super) fn strip(linked: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(linked).context("cannot read the linked object")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = [&b".debug_"[..], b".rel.debug_", b".rela.debug_"].iter().any(|p| name.starts_with(p));
    }
    builder.delete_orphans();
    delete_empty_relocations(&mut builder);
    add_section_names(&mut builder);
    let mut object = Vec::new();
    builder.write(&mut object).context("cannot write the stripped object")?;
    Ok(object)
}

fn delete_empty_relocations(builder: &mut Builder<'_>) {
    for section in &mut builder.sections {
        if matches!(&section.data, SectionData::Relocation(list) if list.is_empty()) {
            section.delete = true;
        }
    }
}

/// Adds a separate table for the names of sections: LLVM keeps them with the symbols' names, the writer does not.
fn add_section_names(builder: &mut Builder<'_>) {
    if builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        return;
    }
    let section = builder.sections.add();
    section.name = b".shstrtab"[..].into();
    section.sh_type = SHT_STRTAB;
    section.sh_addralign = 1;
    section.data = SectionData::SectionString;
}

#[cfg(test)]
mod tests {
    use object::{Object, ObjectSection, ObjectSymbol};

    use super::*;
    use crate::ebpf::contents::{check, sample};

    #[test]
    fn debug_sections_go_and_the_rest_stays() {
        let linked = sample::Sample::default().with_debug().write();
        let object = strip(&linked).unwrap();
        assert!(object.len() < linked.len());

        let (before, after) = (parse(&linked), parse(&object));
        let names: Vec<_> = after.sections().map(|s| s.name().unwrap().to_owned()).collect();
        assert!(!names.iter().any(|name| name.contains("debug")), "{names:?}");
        for section in before.sections().filter(|s| !s.name().unwrap().contains("debug")) {
            let name = section.name().unwrap();
            if name.starts_with('.') && (name.ends_with("tab") || name.starts_with(".rel")) {
                continue;
            }
            let kept = after.section_by_name(name).unwrap();
            assert_eq!(kept.data().unwrap(), section.data().unwrap(), "{name}");
            assert_eq!(relocations(&after, &kept), relocations(&before, &section), "{name}");
        }
        check(&object).unwrap();
    }

    #[test]
    fn stripping_twice_changes_nothing() {
        let once = strip(&sample::Sample::default().with_debug().write()).unwrap();
        assert_eq!(strip(&once).unwrap(), once);
    }

    #[test]
    fn other_data_is_an_error() {
        assert!(strip(b"").is_err());
        assert!(strip(b"\x7fELF and then nothing").is_err());
    }

    fn parse(data: &[u8]) -> object::File<'_> {
        object::File::parse(data).unwrap()
    }

    /// The targets of a section's relocations, by name.
    fn relocations<'d>(file: &object::File<'d>, section: &object::Section<'d, '_>) -> Vec<(u64, String)> {
        let name = |target| match target {
            object::RelocationTarget::Symbol(index) => file.symbol_by_index(index).unwrap().name().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        section.relocations().map(|(offset, relocation)| (offset, name(relocation.target()))).collect()
    }
}
