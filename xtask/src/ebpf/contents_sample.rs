//! Small objects for the tests, made with `object`'s writer.

use object::write::{Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use super::{BTF_MAGIC, FILTER, GLOBALS, MAPS, PROGRAMS};

/// An object under construction; by default it passes the check.
pub(crate) struct Sample {
    machine: Architecture,
    endianness: Endianness,
    sections: Vec<(String, SectionKind, Vec<u8>)>,
    /// Section and name.
    symbols: Vec<(String, String)>,
    debug: bool,
}

impl Default for Sample {
    fn default() -> Self {
        let btf = [&BTF_MAGIC[..], &[1, 0]].concat();
        let mut sample = Self {
            machine: Architecture::Bpf,
            endianness: Endianness::Little,
            sections: Vec::new(),
            symbols: Vec::new(),
            debug: false,
        }
        .section("license", SectionKind::Data, b"Dual MIT/GPL\0")
        .section("maps", SectionKind::Data, &[0; 64])
        .section(".rodata", SectionKind::ReadOnlyData, &[0; 64])
        .section(".bss", SectionKind::UninitializedData, &[0; 4])
        .section(".BTF", SectionKind::Other, &btf)
        .section(".BTF.ext", SectionKind::Other, &btf);
        for (name, section) in PROGRAMS {
            sample = sample.with_program(section, name);
        }
        for name in MAPS {
            sample = sample.with_map(name);
        }
        sample = sample.with_program(FILTER.1, FILTER.0);
        sample.symbols.extend(GLOBALS.map(|(name, section)| (section.to_owned(), name.to_owned())));
        sample
    }
}

impl Sample {
    fn section(mut self, name: &str, kind: SectionKind, data: &[u8]) -> Self {
        self.sections.push((name.to_owned(), kind, data.to_owned()));
        self
    }

    /// Adds DWARF, between the other sections, and symbols and relocations of its own.
    pub(crate) fn with_debug(mut self) -> Self {
        self.debug = true;
        self
    }

    /// Adds one more program of two instructions. Programs of one type share a section.
    pub(crate) fn with_program(mut self, section: &str, name: &str) -> Self {
        self.symbols.push((section.to_owned(), name.to_owned()));
        if let Some((.., code)) = self.sections.iter_mut().find(|(known, ..)| known == section) {
            code.extend([0; 16]);
            return self;
        }
        self.section(section, SectionKind::Text, &[0; 16])
    }

    /// Adds one more map.
    pub(crate) fn with_map(mut self, name: &str) -> Self {
        self.symbols.push(("maps".to_owned(), name.to_owned()));
        self
    }

    /// Replaces the bytes of a section.
    pub(crate) fn with_data(mut self, name: &str, data: &[u8]) -> Self {
        self.sections.iter_mut().filter(|(known, ..)| known == name).for_each(|section| section.2 = data.to_owned());
        self
    }

    /// Removes a section and its contents.
    pub(crate) fn without_section(mut self, name: &str) -> Self {
        self.sections.retain(|(known, ..)| known != name);
        self.symbols.retain(|(section, _)| section != name);
        self
    }

    /// Removes one symbol.
    pub(crate) fn without_symbol(mut self, name: &str) -> Self {
        self.symbols.retain(|(_, known)| known != name);
        self
    }

    /// Changes the machine.
    pub(crate) fn for_machine(mut self, machine: Architecture) -> Self {
        self.machine = machine;
        self
    }

    /// Uses the other byte order.
    pub(crate) fn big_endian(mut self) -> Self {
        self.endianness = Endianness::Big;
        self
    }

    /// The object's bytes. Programs refer to the first map, if there is one.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, self.machine, self.endianness);
        let mut sections: Vec<(&str, SectionId)> = Vec::new();
        for (number, (name, kind, data)) in self.sections.iter().enumerate() {
            if self.debug && number == 2 {
                add_debug(&mut object);
            }
            let id = object.add_section(Vec::new(), name.clone().into_bytes(), *kind);
            if *kind == SectionKind::UninitializedData {
                object.append_section_bss(id, data.len() as u64, 4);
            } else {
                object.append_section_data(id, data, 8);
            }
            sections.push((name, id));
        }
        let find = |name: &str| sections.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
        let mut maps = Vec::new();
        for (section, name) in &self.symbols {
            let id = add_symbol(&mut object, name, find(section).unwrap());
            if section == "maps" {
                maps.push(id);
            }
        }
        // Relocations differ between machines: there are some only for BPF.
        if let (Some(map), Architecture::Bpf) = (maps.first(), self.machine) {
            for (_, id) in sections.iter().filter(|(name, _)| PROGRAMS.iter().any(|(_, known)| known == name)) {
                add_relocation(&mut object, *id, *map);
            }
        }
        object.write().unwrap()
    }
}

fn add_symbol(object: &mut Object<'_>, name: &str, section: SectionId) -> SymbolId {
    object.add_symbol(Symbol {
        name: name.as_bytes().to_owned(),
        value: 0,
        size: 8,
        kind: SymbolKind::Data,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    })
}

fn add_debug(object: &mut Object<'_>) {
    let strings = object.add_section(Vec::new(), b".debug_str".to_vec(), SectionKind::Debug);
    object.append_section_data(strings, b"/home/somebody/droptrace\0", 1);
    let info = object.add_section(Vec::new(), b".debug_info".to_vec(), SectionKind::Debug);
    object.append_section_data(info, &[0; 32], 1);
    let symbol = object.section_symbol(strings);
    add_relocation(object, info, symbol);
}

fn add_relocation(object: &mut Object<'_>, section: SectionId, symbol: SymbolId) {
    let flags = RelocationFlags::Elf { r_type: object::elf::R_BPF_64_64 };
    object.add_relocation(section, Relocation { offset: 0, symbol, addend: 0, flags }).unwrap();
}
