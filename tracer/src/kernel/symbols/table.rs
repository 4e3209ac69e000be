//! The table of the kernel's functions, read from the text of `/proc/kallsyms` and `/proc/modules`.

use std::cmp::Reverse;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::sync::Arc;

use crate::domain::event::Symbol;

/// The greatest number of entries; later ones are left out. A kernel with all its drivers loaded has about 200 000.
const MAX_ENTRIES: usize = 4 << 20;
/// The greatest length of a line in bytes; longer lines are no symbols (`KSYM_NAME_LEN`, `include/linux/kallsyms.h`, is
/// 512).
const MAX_LINE: u64 = 2048;

/// The value of [`Entry::module`] for the kernel's own image.
const IMAGE: u16 = u16::MAX;

/// The start of a function.
#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    /// The offset of the name in [`Table::names`], where a zero ends each name.
    name: u32,
    /// The index into [`Table::modules`], or [`IMAGE`].
    module: u16,
    /// The rank of the name. The name with the greatest rank is shown if several have the same address.
    rank: u8,
}

struct Module {
    name: Arc<str>,
    start: u64,
    end: u64,
}

/// One line of `/proc/kallsyms`: `ffffffff81000000 T _stext`, for a module with a tab and `[module]` at the end.
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

    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Returns whether the symbol is text or weak, global or local (`nm(1)`).
    pub(super) fn is_function(&self) -> bool {
        matches!(self.kind, b'T' | b't' | b'W' | b'w')
    }

    /// Returns whether the name is that of the padding before a function, which contains no call. Half of all lines
    /// are.
    fn is_padding(&self) -> bool {
        self.name.starts_with("__pfx_") || self.name.starts_with("__cfi_")
    }

    /// The rank of a name: a global name is above a local one. Names that are not in the source are below all others:
    /// marks of the linker script, aliases of the early start-up code, parts that the compiler split off.
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
    /// All names, each with a zero at its end, in one allocation instead of 60 000.
    names: String,
    modules: Vec<Module>,
    /// The addresses of `_stext` and `_etext`; the functions of the image are between them.
    text: (u64, u64),
    shown: bool,
    hidden: bool,
}

impl Table {
    /// Reads `/proc/kallsyms` line by line (the whole file has over 5 MB), and the text of `/proc/modules`. Malformed
    /// lines are left out.
    pub(super) fn read(mut kallsyms: impl BufRead, modules: &[u8]) -> io::Result<Self> {
        let mut table = Self { modules: parse_modules(modules), ..Self::default() };
        let mut line = Vec::new();
        while Read::by_ref(&mut kallsyms).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
            if let Some(parsed) = Line::parse(&line) {
                table.add(&parsed);
            }
            line.clear();
        }
        // The kernel's order is already by address, except for modules. The sort also puts the greatest rank of equal
        // addresses first.
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

    /// The index of a module. Names in brackets that are not modules (`[bpf]`, `[__builtin__ftrace]`) have no known
    /// end, so their symbols are left out.
    fn module(&self, name: &str) -> Option<u16> {
        // The symbols of a module are consecutive.
        if let Some(last) = self.entries.last()
            && self.modules.get(usize::from(last.module)).is_some_and(|module| &*module.name == name)
        {
            return Some(last.module);
        }
        let at = self.modules.iter().position(|module| &*module.name == name)?;
        u16::try_from(at).ok().filter(|at| *at != IMAGE)
    }

    /// The function with the call that returns to `address`. The call ends before that address: if the call is the
    /// function's last instruction (the callee never returns), the address itself belongs to another function.
    pub(super) fn find(&self, address: u64) -> Option<Symbol> {
        let call = address.checked_sub(1)?;
        let entry = self.entries[..self.entries.partition_point(|entry| entry.address <= call)].last()?;
        if !self.text_around(*entry).contains(&call) {
            return None;
        }
        let module = self.modules.get(usize::from(entry.module)).map(|module| Arc::clone(&module.name));
        Some(Symbol { name: self.name(*entry).into(), offset: address - entry.address, module })
    }

    /// The addresses of the functions whose names are wanted, and of their parts (`name.cold`): each up to the next
    /// function.
    pub(super) fn code_where(&self, wanted: impl Fn(&str) -> bool) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let is_wanted = self.name(*entry).split('.').next().is_some_and(&wanted);
            let text = self.text_around(*entry);
            if is_wanted && text.contains(&entry.address) {
                let next = self.entries.get(at + 1).map_or(text.end, |next| next.address);
                found.push(entry.address..next.min(text.end));
            }
        }
        found
    }

    /// The code of the image or module that a function is part of.
    fn text_around(&self, entry: Entry) -> Range<u64> {
        self.modules.get(usize::from(entry.module)).map_or(self.text.0..self.text.1, |module| module.start..module.end)
    }

    fn name(&self, entry: Entry) -> &str {
        self.names[entry.name as usize..].split('\0').next().unwrap_or_default()
    }

    /// Returns whether the kernel shows zeros in place of addresses.
    pub(super) fn is_hidden(&self) -> bool {
        self.hidden && !self.shown
    }
}

/// Reads the lines of `/proc/modules`: name, size in bytes, number of users, names of users, state, address.
///
/// From 6.4 on, the parts of a module are at separate addresses: the address is that of the module's functions, and the
/// size is that of all parts. The end is therefore an upper bound for the module's functions.
fn parse_modules(text: &[u8]) -> Vec<Module> {
    let parse = |line: &[u8]| {
        let words: Vec<&str> = std::str::from_utf8(line).ok()?.split_ascii_whitespace().collect();
        let &[name, size, _, _, _, address, ..] = words.as_slice() else { return None };
        let start = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        Some(Module { name: name.into(), start, end: start.saturating_add(size.parse().ok()?) })
    };
    text.split(|byte| *byte == b'\n').filter_map(parse).collect()
}
