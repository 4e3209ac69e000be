//! The required contents of the object, and their check.

use std::fmt;

use anyhow::{Context, Result, bail};
use object::{Architecture, Endianness, File, Object, ObjectSection, ObjectSymbol, SectionKind};

/// The kernel's loader requires a licence that is compatible with the GPL, with one of the names of
/// `license_is_gpl_compatible` (`include/linux/license.h`).
const LICENSE: &str = "Dual MIT/GPL";
/// The programs: function and section. The section tells aya the program type and the attach point.
const PROGRAMS: [(&str, &str); 12] = [
    ("kfree_skb_btf", "tp_btf/kfree_skb"),
    ("kfree_skb_called", "tp_btf/kfree_skb"),
    ("kfree_skb_raw", "raw_tp/kfree_skb"),
    ("qdisc_drop", "raw_tp/qdisc_drop"),
    ("syn_received", "fentry/tcp_conn_request"),
    ("syn_answered", "fexit/tcp_conn_request"),
    ("tcp_retransmit_skb", "raw_tp/tcp_retransmit_skb"),
    ("udp_fail_queue_rcv_skb", "raw_tp/udp_fail_queue_rcv_skb"),
    ("devlink_trap_report", "raw_tp/devlink_trap_report"),
    ("xdp_exception", "raw_tp/xdp_exception"),
    ("xdp_redirect_err", "raw_tp/xdp_redirect_err"),
    ("namespace_of_file", "raw_tp/kfree_skb"),
];
/// The maps.
const MAPS: [&str; 19] = [
    "CPU_STATE",
    "COUNTS",
    "TABLES",
    "DROPS_0",
    "DROPS_1",
    "NAMES_0",
    "NAMES_1",
    "OVERFLOW",
    "TRAP_NAMES",
    "SITES",
    "FLOWS",
    "FLOW_SLOTS",
    "RECORDS",
    "SEGMENTS",
    "SYN",
    "REFUSED",
    "REFUSED_OTHERS",
    "NAMESPACE",
    "AYA_LOGS",
];
/// Variables and their sections: the log's level, which userspace sets before loading, and the only variable that it
/// changes while programs run.
const GLOBALS: [(&str, &str); 2] = [("AYA_LOG_LEVEL", ".rodata"), ("GENERATION", ".bss")];
/// The function whose body userspace replaces with the code of a filter (`PACKET_FILTER` of `tracer-common`), and its
/// section.
const FILTER: (&str, &str) = ("packet_filter", ".text");
/// Bytes of GENERATION, which userspace assumes to be the whole section.
const GENERATION_SIZE: u64 = 4;
/// The sections of map declarations, in the old and the new format.
const MAP_SECTIONS: [&str; 2] = ["maps", ".maps"];
/// First two bytes of BTF (`BTF_MAGIC`, `include/uapi/linux/btf.h`), in the object's byte order.
const BTF_MAGIC: [u8; 2] = 0xeb9f_u16.to_le_bytes();

/// The contents of a checked object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Bytes of the whole object.
    size: usize,
    /// Bytes of instructions.
    instruction_bytes: u64,
    /// Bytes of BTF.
    btf: u64,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, instruction_bytes, btf } = self;
        let (programs, maps) = (PROGRAMS.len(), MAPS.len());
        write!(
            f,
            "{size} bytes: {programs} programs of {} instructions in all, {maps} maps, {btf} bytes of BTF, licence {LICENSE}",
            instruction_bytes / 8
        )
    }
}

/// Checks the object against the lists above. The error names all problems.
pub(crate) fn check(object: &[u8]) -> Result<Contents> {
    let file = File::parse(object).context("the built object is not an ELF file")?;
    let mut problems = Vec::new();
    check_machine(&file, &mut problems);
    check_license(&file, &mut problems);
    check_programs(&file, &mut problems);
    check_symbols(&file, "map", &MAPS, &MAP_SECTIONS, &mut problems);
    for (name, section) in GLOBALS {
        check_symbols(&file, "global", &[name], &[section], &mut problems);
    }
    check_symbols(&file, "function", &[FILTER.0], &[FILTER.1], &mut problems);
    let variables = file.section_by_name(".bss").map_or(0, |section| section.size());
    if variables != GENERATION_SIZE {
        problems.push(format!("section .bss has {variables} bytes, not those {GENERATION_SIZE} of GENERATION alone"));
    }
    check_btf(&file, &mut problems);
    if !problems.is_empty() {
        bail!("the built object has these problems:\n  {}", problems.join("\n  "));
    }
    let text = file.sections().filter(|section| section.kind() == SectionKind::Text);
    Ok(Contents {
        size: object.len(),
        instruction_bytes: text.map(|section| section.size()).sum(),
        btf: file.section_by_name(".BTF").map_or(0, |section| section.size()),
    })
}

fn check_machine(file: &File<'_>, problems: &mut Vec<String>) {
    if file.architecture() != Architecture::Bpf || file.endianness() != Endianness::Little || !file.is_64() {
        problems.push(format!(
            "it is for {:?}, {:?}-endian, not for little-endian BPF",
            file.architecture(),
            file.endianness()
        ));
    }
}

fn check_license(file: &File<'_>, problems: &mut Vec<String>) {
    let found = file.section_by_name("license").and_then(|section| section.data().ok());
    match found {
        Some(text) if text.strip_suffix(b"\0") == Some(LICENSE.as_bytes()) => {}
        Some(text) => {
            problems.push(format!("section license holds \"{}\", not \"{LICENSE}\" and a zero", text.escape_ascii()));
        }
        None => problems.push("section license is missing".to_owned()),
    }
}

fn check_programs(file: &File<'_>, problems: &mut Vec<String>) {
    for (name, section) in PROGRAMS {
        if file.section_by_name(section).is_none() {
            problems.push(format!("program section {section} is missing"));
        } else if !symbols_in(file, &[section]).any(|symbol| symbol == name) {
            problems.push(format!("program {name} is missing from section {section}"));
        }
    }
    // Functions that programs call are in .text and similar sections (`.text.unlikely.`), as aya knows too.
    let unknown = file.sections().filter(|section| section.kind() == SectionKind::Text && section.size() > 0);
    for name in unknown.filter_map(|section| section.name().ok()) {
        if !name.starts_with(".text") && PROGRAMS.iter().all(|(_, section)| *section != name) {
            problems.push(format!("program section {name} is not in the list of {}", file!()));
        }
    }
}

fn check_symbols(file: &File<'_>, kind: &str, wanted: &[&str], sections: &[&str], problems: &mut Vec<String>) {
    for name in wanted {
        if !symbols_in(file, sections).any(|symbol| symbol == *name) {
            problems.push(format!("{kind} {name} is missing from section {}", sections.join(" or ")));
        }
    }
    if kind == "map" {
        for name in symbols_in(file, sections).filter(|name| !wanted.contains(name)) {
            problems.push(format!("{kind} {name} is not in the list of {}", file!()));
        }
    }
}

/// The names of the definitions in any of these sections.
fn symbols_in<'f>(file: &'f File<'_>, sections: &[&str]) -> impl Iterator<Item = &'f str> {
    let indexes: Vec<_> = file
        .sections()
        .filter(|section| section.name().is_ok_and(|name| sections.contains(&name)))
        .map(|section| section.index())
        .collect();
    file.symbols()
        .filter(move |symbol| symbol.section_index().is_some_and(|index| indexes.contains(&index)))
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| !name.is_empty())
}

fn check_btf(file: &File<'_>, problems: &mut Vec<String>) {
    for name in [".BTF", ".BTF.ext"] {
        match file.section_by_name(name).map(|section| section.data()) {
            None => problems.push(format!("section {name} is missing")),
            Some(Ok(data)) if data.starts_with(&BTF_MAGIC) => {}
            Some(_) => problems.push(format!("section {name} does not start with the magic number of BTF")),
        }
    }
}

#[cfg(test)]
#[path = "contents_sample.rs"]
pub(super) mod sample;

#[cfg(test)]
mod tests {
    use super::*;
    use sample::Sample;

    fn problems(sample: &Sample) -> String {
        format!("{:#}", check(&sample.write()).unwrap_err())
    }

    #[test]
    fn a_whole_object_passes() {
        let object = Sample::default().write();
        let contents = check(&object).unwrap();
        // The filter's function as well.
        let bytes = 16 * (PROGRAMS.len() as u64 + 1);
        assert_eq!(contents, Contents { size: object.len(), instruction_bytes: bytes, btf: 4 });
        let (programs, maps) = (PROGRAMS.len(), MAPS.len());
        let text = format!("{programs} programs of {} instructions in all, {maps} maps, 4 bytes of BTF", bytes / 8);
        assert!(contents.to_string().contains(&text), "{contents}");
    }

    #[test]
    fn missing_parts_are_named() {
        for name in MAPS
            .into_iter()
            .chain(GLOBALS.map(|(name, _)| name))
            .chain(PROGRAMS.map(|(name, _)| name))
            .chain([FILTER.0])
        {
            let problems = problems(&Sample::default().without_symbol(name));
            assert!(problems.contains(&format!(" {name} is missing from section ")), "{problems}");
            assert_eq!(problems.lines().count(), 2, "{problems}");
        }
        for name in ["license", ".BTF", ".BTF.ext", "tp_btf/kfree_skb", "raw_tp/kfree_skb"] {
            let problems = problems(&Sample::default().without_section(name));
            assert!(problems.contains(&format!("section {name} is missing")), "{problems}");
        }
    }

    #[test]
    fn all_problems_are_in_one_error() {
        let problems = problems(&Sample::default().without_symbol("COUNTS").without_section("license"));
        assert!(problems.contains("map COUNTS is missing") && problems.contains("section license is missing"));
    }

    #[test]
    fn unlisted_parts_are_named() {
        let problems = problems(&Sample::default().with_map("SECRET").with_program("kprobe/x", "x"));
        assert!(problems.contains("map SECRET is not in the list"), "{problems}");
        assert!(problems.contains("program section kprobe/x is not in the list"), "{problems}");
    }

    #[test]
    fn the_licence_is_compared_to_the_byte() {
        for wrong in [&b"Dual MIT/GPL"[..], b"MIT\0", b"", b"Dual MIT/GPL\0\0"] {
            let problems = problems(&Sample::default().with_data("license", wrong));
            assert!(problems.contains("section license holds"), "{problems}");
        }
    }

    #[test]
    fn btf_has_its_magic() {
        let problems = problems(&Sample::default().with_data(".BTF", b"\xeb\x9f\x01\0"));
        assert!(problems.contains("section .BTF does not start with the magic"), "{problems}");
    }

    #[test]
    fn other_machines_are_refused() {
        assert!(problems(&Sample::default().for_machine(Architecture::X86_64)).contains("not for little-endian BPF"));
        assert!(problems(&Sample::default().big_endian()).contains("not for little-endian BPF"));
        assert_eq!(format!("{:#}", check(b"text").unwrap_err()).lines().count(), 1);
    }
}
