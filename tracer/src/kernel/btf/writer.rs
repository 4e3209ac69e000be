//! Writes small BTF for tests (layout: `include/uapi/linux/btf.h`).

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const ENUM64: u32 = 19;

/// A member of a structure: name, type id, offset in bits.
pub(crate) type Member<'a> = (&'a str, u32, u32);

/// Writes types. Type 0 is `void`; each method returns the id of the type that it adds.
pub(crate) struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// The number of string bytes in the base, if this is the BTF of a module.
    base_strings: u32,
    next: u32,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], base_strings: 0, next: 1 }
    }

    /// A writer for the BTF of a module with this base.
    pub(crate) fn on(base: &Self) -> Self {
        let base_strings = u32::try_from(base.strings.len()).unwrap();
        Self { types: Vec::new(), strings: vec![0], base_strings, next: base.next }
    }

    pub(crate) fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(name, INT, 0, size, &[size * 8])
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.add("", PTR, 0, to, &[])
    }

    pub(crate) fn array(&mut self, of: u32, count: u32) -> u32 {
        self.add("", ARRAY, 0, 0, &[of, of, count])
    }

    pub(crate) fn forward(&mut self, name: &str) -> u32 {
        self.add(name, FWD, 0, 0, &[])
    }

    pub(crate) fn typedef(&mut self, name: &str, to: u32) -> u32 {
        self.add(name, TYPEDEF, 0, to, &[])
    }

    pub(crate) fn constant(&mut self, of: u32) -> u32 {
        self.add("", CONST, 0, of, &[])
    }

    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[Member]) -> u32 {
        self.composite(name, STRUCT, size, members)
    }

    pub(crate) fn union(&mut self, name: &str, size: u32, members: &[Member]) -> u32 {
        self.composite(name, UNION, size, members)
    }

    /// A structure whose kind flag is set. `widths` has the members' widths in bits, with 0 for members that are not
    /// bit fields.
    pub(crate) fn with_bitfields(&mut self, name: &str, size: u32, members: &[Member], widths: &[u32]) -> u32 {
        let members: Vec<Member> = members.iter().zip(widths).map(|(m, width)| (m.0, m.1, m.2 | width << 24)).collect();
        self.composite(name, STRUCT | 1 << 7, size, &members)
    }

    pub(crate) fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let words: Vec<u32> = values.iter().flat_map(|(name, value)| [self.string(name), *value]).collect();
        self.add(name, ENUM, values.len(), 4, &words)
    }

    pub(crate) fn enumeration64(&mut self, name: &str, values: &[(&str, u64)]) -> u32 {
        let halves = |value: u64| [u32::try_from(value & 0xffff_ffff).unwrap(), u32::try_from(value >> 32).unwrap()];
        let words: Vec<u32> =
            values.iter().flat_map(|(name, value)| [self.string(name), halves(*value)[0], halves(*value)[1]]).collect();
        self.add(name, ENUM64, values.len(), 8, &words)
    }

    pub(crate) fn prototype(&mut self, parameters: &[u32]) -> u32 {
        let words: Vec<u32> = parameters.iter().flat_map(|parameter| [0, *parameter]).collect();
        self.add("", FUNC_PROTO, parameters.len(), 0, &words)
    }

    pub(crate) fn function(&mut self, name: &str, prototype: u32) -> u32 {
        self.add(name, FUNC, 0, prototype, &[])
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let (types, strings) = (u32::try_from(self.types.len()).unwrap(), u32::try_from(self.strings.len()).unwrap());
        let mut bytes = [0xeb9f_u16.to_ne_bytes(), [1, 0]].concat();
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }

    fn composite(&mut self, name: &str, kind: u32, size: u32, members: &[Member]) -> u32 {
        let words: Vec<u32> = members.iter().flat_map(|m| [self.string(m.0), m.1, m.2]).collect();
        self.add(name, kind, members.len(), size, &words)
    }

    fn add(&mut self, name: &str, kind: u32, count: usize, size_or_type: u32, rest: &[u32]) -> u32 {
        let info = kind << 24 | u32::try_from(count).unwrap();
        let name = self.string(name);
        for word in [name, info, size_or_type].iter().chain(rest) {
            self.types.extend(word.to_ne_bytes());
        }
        self.next += 1;
        self.next - 1
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        self.base_strings + at
    }
}
