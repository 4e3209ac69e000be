//! Loads the built object into the kernel: all maps at once, and each program when it is needed.
//!
//! aya reads and relocates the object, and makes the maps. droptrace loads the programs itself, because aya's loader
//! parses all of the kernel's types at each start, of which only one number is needed.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::{Map, MapData, MapError, RingBuf};
use aya_obj::generated::{bpf_attach_type, bpf_insn, bpf_map_type};
use aya_obj::{EbpfSectionKind, Map as Definition, Object};
use tracer_common::{CALL_RDONLY_CAST, Config, PACKET_FILTER};

use super::sys::{self, RawMap};
use super::{Error, constants};

/// `BPF_JMP | BPF_CALL`, and the source register that makes it a call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
const CALL: u8 = 0x85;
const PSEUDO_KFUNC_CALL: u8 = 2;
/// `BPF_ALU64 | BPF_MOV | BPF_X`: copies one register to another.
const MOVE: u8 = 0xbf;

/// The needs of this kernel and this run.
pub(super) struct Fitting<'a> {
    /// The program's numbers.
    pub(super) config: &'a Config,
    /// Level of the program's own log, one of aya's levels.
    pub(super) log_level: u8,
    /// Number of entries of maps, by name.
    pub(super) max_entries: &'a [(&'static str, u32)],
    /// BTF id of the kernel function `bpf_rdonly_cast`; absent where the program does not use it.
    pub(super) rdonly_cast: Option<u32>,
    /// Names of the ring buffers that this run does not use. They become arrays of one element, so that the object
    /// loads on kernels without ring buffers.
    pub(super) unused_rings: &'a [&'static str],
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attachment {
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`.
    Raw,
    /// `BPF_TRACE_RAW_TP`: the BTF id of the typedef `btf_trace_…` of its tracepoint.
    Typed(u32),
    /// `BPF_TRACE_FENTRY`: the BTF id of the function at whose entry the program runs.
    Entry(u32),
    /// `BPF_TRACE_FEXIT`: likewise, at the function's exit.
    Exit(u32),
}

impl Attachment {
    /// As [`sys::NewProgram::typed`].
    const fn typed(self) -> Option<(bpf_attach_type, u32)> {
        match self {
            Self::Raw => None,
            Self::Typed(id) => Some((bpf_attach_type::BPF_TRACE_RAW_TP, id)),
            Self::Entry(id) => Some((bpf_attach_type::BPF_TRACE_FENTRY, id)),
            Self::Exit(id) => Some((bpf_attach_type::BPF_TRACE_FEXIT, id)),
        }
    }
}

/// The object after its maps were made.
pub(super) struct Loader {
    object: Object,
    maps: HashMap<String, MapData>,
}

/// A program in the kernel.
pub(super) struct Program {
    name: &'static str,
    fd: OwnedFd,
    attachment: Attachment,
}

impl Loader {
    /// Makes the maps; no program is loaded yet. Before [`Loader::link`], only programs without functions can be.
    pub(super) fn new(bytes: &[u8], fitting: &Fitting<'_>) -> Result<Self, Error> {
        let mut object = fitted(bytes, fitting)?;
        let maps = make_maps(&mut object)?;
        let code: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let of_map = |(name, (definition, map)): (&'_ String, &'_ (Definition, MapData))| {
            (name.clone(), map.fd().as_fd().as_raw_fd(), definition.clone())
        };
        let relocations: Vec<_> = maps.iter().map(of_map).collect();
        let relocations = relocations.iter().map(|(name, fd, definition)| (name.as_str(), *fd, definition));
        object.relocate_maps(relocations, &code).map_err(malformed)?;
        Ok(Self { object, maps: maps.into_iter().map(|(name, (_, map))| (name, map)).collect() })
    }

    /// Joins the programs with the functions that they call. `filter` is the code of the filter, if there is one.
    pub(super) fn link(&mut self, filter: Option<Vec<bpf_insn>>) -> Result<(), Error> {
        if let Some(code) = filter {
            replace_filter(&mut self.object, code)?;
        }
        let code: HashSet<usize> = self.object.functions.keys().map(|(section, _)| *section).collect();
        self.object.relocate_calls(&code).map_err(malformed)
    }

    /// Loads a program. If the verifier refuses it, the verifier's log goes to the debug log, because only a developer
    /// of the program needs it.
    pub(super) fn load(&self, name: &'static str, attachment: Attachment) -> Result<Program, Error> {
        let missing = Error::Missing { what: name };
        let program = self.object.programs.get(name);
        let Some(function) = program.and_then(|program| self.object.functions.get(&program.function_key())) else {
            return Err(missing);
        };
        let load = |log: Option<&mut [u8]>| {
            let name = c_string(name)?;
            let program = sys::NewProgram {
                name: &name,
                license: &self.object.license,
                instructions: &function.instructions,
                typed: attachment.typed(),
            };
            sys::load_program(&program, log)
        };
        match load(None) {
            Ok(fd) => Ok(Program { name, fd, attachment }),
            Err(source) => {
                if tracing::enabled!(tracing::Level::DEBUG) {
                    let mut log = vec![0; VERIFIER_LOG];
                    _ = load(Some(&mut log));
                    let text = CStr::from_bytes_until_nul(&log).unwrap_or_default();
                    tracing::debug!("verifier log of {name}:\n{}", text.to_string_lossy());
                }
                Err(Error::Refused { what: name, source })
            }
        }
    }

    /// A handle on a map.
    pub(super) fn map_fd(&self, name: &'static str) -> Result<OwnedFd, Error> {
        let map = self.maps.get(name).ok_or(Error::Missing { what: name })?;
        map.fd().as_fd().try_clone_to_owned().map_err(|source| Error::Read { what: name, source })
    }

    /// Takes a ring buffer, which has this reader alone.
    pub(super) fn take_ring(&mut self, name: &'static str) -> Result<RingBuf<MapData>, Error> {
        let map = self.maps.remove(name).ok_or(Error::Missing { what: name })?;
        RingBuf::try_from(Map::RingBuf(map)).map_err(|source| Error::Map { what: name, source: Box::new(source) })
    }
}

/// Bytes of the buffer for the verifier's log.
const VERIFIER_LOG: usize = 4 << 20;

impl Program {
    pub(super) const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Attaches the program to its tracepoint or function, for as long as the returned descriptor lives.
    pub(super) fn attach(&self, tracepoint: &'static str) -> Result<OwnedFd, Error> {
        let attach = || match self.attachment {
            Attachment::Raw => sys::attach_program(self.fd.as_fd(), Some(&c_string(tracepoint)?)),
            // The type that the program was loaded with identifies the tracepoint or function.
            Attachment::Typed(_) | Attachment::Entry(_) | Attachment::Exit(_) => {
                sys::attach_program(self.fd.as_fd(), None)
            }
        };
        attach().map_err(|source| Error::Attach { what: self.name, tracepoint, source })
    }
}

fn c_string(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(io::Error::other)
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Object { source: Box::new(error) }
}

/// The object for this kernel and this run.
fn fitted(bytes: &[u8], fitting: &Fitting<'_>) -> Result<Object, Error> {
    let mut object = Object::parse(bytes).map_err(malformed)?;
    let log_level = [fitting.log_level];
    object.patch_map_data(HashMap::from([("AYA_LOG_LEVEL", (&log_level[..], true))])).map_err(malformed)?;
    if constants::write(&mut object, fitting.config).map_err(malformed)? == 0 {
        return Err(Error::Missing { what: "number that it leaves open" });
    }
    for (name, room) in fitting.max_entries {
        definition(&mut object, name)?.set_max_entries(*room);
    }
    for name in fitting.unused_rings {
        make_array(definition(&mut object, name)?);
    }
    let code = object.functions.values_mut().flat_map(|function| &mut function.instructions);
    if code.filter_map(|instruction| replace_cast(instruction, fitting.rdonly_cast)).count() == 0 {
        return Err(Error::Missing { what: "call of bpf_rdonly_cast" });
    }
    Ok(object)
}

/// Replaces the body of the function that stands for the filter. The relocations of its section, which are found by
/// their distance from the section's start, are none of its own.
fn replace_filter(object: &mut Object, code: Vec<bpf_insn>) -> Result<(), Error> {
    /// No section is that long.
    const BEYOND: usize = 1 << 32;
    let filter = object.functions.values_mut().find(|function| function.name == PACKET_FILTER);
    let filter = filter.ok_or(Error::Missing { what: PACKET_FILTER })?;
    filter.instructions = code;
    filter.section_offset = BEYOND;
    Ok(())
}

fn definition<'o>(object: &'o mut Object, name: &'static str) -> Result<&'o mut Definition, Error> {
    object.maps.get_mut(name).ok_or(Error::Missing { what: name })
}

fn make_array(map: &mut Definition) {
    let Definition::Legacy(map) = map else { return };
    map.def.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    (map.def.key_size, map.def.value_size, map.def.max_entries) = (4, 8, 1);
}

fn replace_cast(instruction: &mut bpf_insn, function: Option<u32>) -> Option<()> {
    let is_cast =
        instruction.code == CALL && instruction.src_reg() == 0 && instruction.imm.cast_unsigned() == CALL_RDONLY_CAST;
    match function.filter(|_| is_cast) {
        Some(id) => {
            instruction.set_src_reg(PSEUDO_KFUNC_CALL);
            instruction.imm = id.cast_signed();
        }
        // The first argument as it is.
        None if is_cast => {
            instruction.code = MOVE;
            instruction.set_dst_reg(0);
            instruction.set_src_reg(1);
            instruction.imm = 0;
        }
        None => return None,
    }
    Some(())
}

/// Makes the maps, and fills the maps of constants.
fn make_maps(object: &mut Object) -> Result<HashMap<String, (Definition, MapData)>, Error> {
    let make = |(name, definition): (String, Definition)| {
        let map = MapData::create(definition.clone(), &name, None)
            .map_err(|source: MapError| Error::Load { source: Box::new(source) })?;
        if !definition.data().is_empty() {
            fill(&definition, &map).map_err(|source| Error::Read { what: "the kernel program's constants", source })?;
        }
        Ok((name, (definition, map)))
    };
    object.maps.drain().map(make).collect()
}

/// Writes a section's bytes into its map.
fn fill(definition: &Definition, map: &MapData) -> io::Result<()> {
    let fd = map.fd().as_fd();
    RawMap::new(fd.try_clone_to_owned()?, size_of::<u32>(), definition.value_size() as usize)
        .update(&0_u32.to_ne_bytes(), definition.data())?;
    if definition.section_kind() == EbpfSectionKind::Rodata {
        // The verifier treats the values of a frozen map as constants, and leaves out the code behind them.
        sys::freeze_map(fd)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use zerocopy::FromZeros;

    use super::*;

    static CONFIG: LazyLock<Config> = LazyLock::new(Config::new_zeroed);

    fn nothing() -> Fitting<'static> {
        Fitting { config: &CONFIG, log_level: 0, max_entries: &[], rdonly_cast: None, unused_rings: &[] }
    }

    fn calls(object: &Object, source: u8, immediate: u32) -> usize {
        let code = object.functions.values().flat_map(|function| &function.instructions);
        let is_wanted =
            |one: &&bpf_insn| one.code == CALL && one.src_reg() == source && one.imm.cast_unsigned() == immediate;
        code.filter(is_wanted).count()
    }

    #[test]
    fn every_cast_calls_the_function_or_nothing() {
        let placeholders = calls(&Object::parse(tracer_ebpf::OBJECT).unwrap(), 0, CALL_RDONLY_CAST);
        assert!(placeholders > 10, "{placeholders}");
        let with = fitted(tracer_ebpf::OBJECT, &Fitting { rdonly_cast: Some(77), ..nothing() }).unwrap();
        assert_eq!(calls(&with, PSEUDO_KFUNC_CALL, 77), placeholders);
        assert_eq!(calls(&with, 0, CALL_RDONLY_CAST), 0);
        let without = fitted(tracer_ebpf::OBJECT, &nothing()).unwrap();
        assert_eq!(calls(&without, 0, CALL_RDONLY_CAST), 0);
        assert_eq!(calls(&without, PSEUDO_KFUNC_CALL, 77), 0);
    }

    #[test]
    fn unused_rings_become_arrays_and_other_maps_stay() {
        let shape = |object: &Object, name: &str| {
            let map = &object.maps[name];
            [map.map_type(), map.key_size(), map.value_size(), map.max_entries()]
        };
        let original = Object::parse(tracer_ebpf::OBJECT).unwrap();
        let fitted = fitted(tracer_ebpf::OBJECT, &Fitting { unused_rings: &["RECORDS"], ..nothing() }).unwrap();
        assert_eq!(shape(&fitted, "RECORDS"), [bpf_map_type::BPF_MAP_TYPE_ARRAY as u32, 4, 8, 1]);
        for other in ["AYA_LOGS", "COUNTS"] {
            assert_eq!(shape(&fitted, other), shape(&original, other));
        }
    }

    #[test]
    fn the_filter_is_in_every_program_that_calls_it() {
        const RESULT: u32 = 0x6472_1234;
        let filter: Vec<bpf_insn> = vec![
            bpf_insn {
                code: 0xb4,
                _bitfield_align_1: [],
                _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
                off: 0,
                imm: RESULT.cast_signed(),
            },
            bpf_insn { code: 0x95, _bitfield_align_1: [], _bitfield_1: bpf_insn::new_bitfield_1(0, 0), off: 0, imm: 0 },
        ];
        // Longer than what it replaces.
        let filter: Vec<bpf_insn> = filter.iter().cycle().take(400).copied().collect();
        let mut object = fitted(tracer_ebpf::OBJECT, &nothing()).unwrap();
        replace_filter(&mut object, filter).unwrap();
        let code: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_calls(&code).unwrap();
        let has_filter = |name: &str| {
            let function = &object.functions[&object.programs[name].function_key()];
            function.instructions.iter().filter(|one| one.code == 0xb4 && one.imm.cast_unsigned() == RESULT).count()
                == 200
        };
        let counting = ["kfree_skb_btf", "kfree_skb_called", "kfree_skb_raw", "devlink_trap_report", "xdp_exception"];
        for program in counting.into_iter().chain(["xdp_redirect_err"]) {
            assert!(has_filter(program), "{program}");
        }
        assert!(!has_filter("namespace_of_file"));
    }

    #[test]
    fn missing_parts_of_the_object_are_named() {
        let fitting = Fitting { max_entries: &[("NO_SUCH_MAP", 1)], ..nothing() };
        let error = fitted(tracer_ebpf::OBJECT, &fitting).err().unwrap();
        assert_eq!(error.to_string(), "the kernel program's object has no NO_SUCH_MAP");
        assert!(matches!(fitted(b"not ELF", &nothing()), Err(Error::Object { .. })));
    }
}
