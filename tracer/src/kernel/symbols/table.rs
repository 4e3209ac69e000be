//! The table of the kernel's functions, read from the text of `/proc/kallsyms` and `/proc/modules`.

use std::cmp::Reverse;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use crate::domain::event::Symbol;

/// Entries beyond these are left out. A kernel with all its drivers loaded has about 200 000.
const MAX_ENTRIES: usize = 4 << 20;
/// Longer lines are no symbols (`KSYM_NAME_LEN`, `include/linux/kallsyms.h`, is 512).
const MAX_LINE: u64 = 2048;

/// In [`Entry::module`]: the kernel's own image.
const IMAGE: u16 = u16::MAX;

/// A function's start.
#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    /// Where the name starts in the arena; a zero ends it.
    name: u32,
    /// Index into the modules, or [`IMAGE`].
    module: u16,
    /// Of several names for one address, the greatest is shown.
    rank: u8,
}

struct Module {
    name: Arc<str>,
    start: u64,
    end: u64,
}

/// One line of `/proc/kallsyms`: `ffffffff81000000 T _stext` or, of a module, with a tab and `[module]` behind.
pub(super) struct Line<'a> {
    pub(super) address: u64,
    kind: u8,
    name: &'a str,
    module: Option<&'a str>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let &[kind] = words.next()?.as_bytes() else { return None };
        let name = words.next()?;
        let module = words.next().and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
        Some(Self { address, kind, name, module })
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Text or weak, global or local (`nm(1)`).
    pub(super) fn is_function(&self) -> bool {
        matches!(self.kind, b'T' | b't' | b'W' | b'w')
    }

    /// Names the padding in front of a function, where no call stands: half of all lines.
    fn is_padding(&self) -> bool {
        self.name.starts_with("__pfx_") || self.name.starts_with("__cfi_")
    }

    /// Global before local. Least what the source does not call it: marks of the linker script, aliases of the early
    /// start-up code, parts that the compiler split off.
    fn rank(&self) -> u8 {
        const MARKS: [&str; 4] = ["_text", "_stext", "_sinittext", "_einittext"];
        let name = self.name;
        let in_source = !name.contains('.') && !name.starts_with("__pi_") && !MARKS.contains(&name);
        u8::from(in_source) << 1 | u8::from(self.kind.is_ascii_uppercase())
    }
}

/// The kernel's functions in the order of their addresses, one for each address.
#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// All names, each closed by a zero: one allocation in place of 60 000.
    names: String,
    modules: Vec<Module>,
    /// `_stext` and `_etext`, between which the image has its functions.
    text: (u64, u64),
    shown: bool,
    hidden: bool,
}

impl Table {
    /// Reads `/proc/kallsyms` line by line (as a whole it has over 5 MB), and the text of `/proc/modules`. Lines that
    /// make no sense are left out.
    pub(super) fn read(mut kallsyms: impl BufRead, modules: &[u8]) -> io::Result<Self> {
        let mut table = Self { modules: parse_modules(modules), ..Self::default() };
        let mut line = Vec::new();
        while Read::by_ref(&mut kallsyms).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
            if let Some(parsed) = Line::parse(&line) {
                table.add(&parsed);
            }
            line.clear();
        }
        // The kernel's order is by address already, but for modules; equal addresses then have the greatest rank first.
        table.entries.sort_by_key(|entry| (entry.address, Reverse(entry.rank)));
        table.entries.dedup_by_key(|entry| entry.address);
        table.entries.shrink_to_fit();
        table.names.shrink_to_fit();
        Ok(table)
    }

    fn add(&mut self, line: &Line) {
        match line.name {
            "_stext" => self.text.0 = line.address,
            "_etext" => self.text.1 = line.address,
            _ => {}
        }
        if !line.is_function() {
            return;
        }
        self.shown |= line.address != 0;
        self.hidden |= line.address == 0;
        if line.address == 0 || line.is_padding() || self.entries.len() >= MAX_ENTRIES {
            return;
        }
        let Some(module) = line.module.map_or(Some(IMAGE), |name| self.module(name)) else { return };
        let Ok(name) = u32::try_from(self.names.len()) else { return };
        self.names.push_str(line.name);
        self.names.push('\0');
        self.entries.push(Entry { address: line.address, name, module, rank: line.rank() });
    }

    /// Index of a module. What is none (`[bpf]`, `[__builtin__ftrace]`) has no known end, so its symbols are left out.
    fn module(&self, name: &str) -> Option<u16> {
        // A module's symbols follow one another.
        if let Some(last) = self.entries.last()
            && self.modules.get(usize::from(last.module)).is_some_and(|module| &*module.name == name)
        {
            return Some(last.module);
        }
        let at = self.modules.iter().position(|module| &*module.name == name)?;
        u16::try_from(at).ok().filter(|at| *at != IMAGE)
    }

    /// The function that a call returns to `address` in. The call ends before that address: where it is the function's
    /// last instruction (the callee never returns), the address itself is another function's.
    pub(super) fn find(&self, address: u64) -> Option<Symbol> {
        let call = address.checked_sub(1)?;
        let entry = self.entries[..self.entries.partition_point(|entry| entry.address <= call)].last()?;
        let (start, end, module) = match self.modules.get(usize::from(entry.module)) {
            Some(module) => (module.start, module.end, Some(Arc::clone(&module.name))),
            None => (self.text.0, self.text.1, None),
        };
        if !(start..end).contains(&call) {
            return None;
        }
        let name = self.names[entry.name as usize..].split('\0').next()?;
        Some(Symbol { name: name.into(), offset: address - entry.address, module })
    }

    /// The kernel shows zeros in place of addresses.
    pub(super) fn is_hidden(&self) -> bool {
        self.hidden && !self.shown
    }
}

/// Lines of `/proc/modules`: name, size in bytes, users, who they are, state, address.
///
/// From 6.4 on a module's parts lie apart: the address is that of its functions, the size that of all parts. So the end
/// is an upper bound, beyond which nothing of this module stands.
fn parse_modules(text: &[u8]) -> Vec<Module> {
    let parse = |line: &[u8]| {
        let words: Vec<&str> = std::str::from_utf8(line).ok()?.split_ascii_whitespace().collect();
        let &[name, size, _, _, _, address, ..] = words.as_slice() else { return None };
        let start = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        Some(Module { name: name.into(), start, end: start.saturating_add(size.parse().ok()?) })
    };
    text.split(|byte| *byte == b'\n').filter_map(parse).collect()
}
