//! An index of types by name: one walk over all types replaces one walk for each name.

/// The length in bytes of `struct btf_type` (`include/uapi/linux/btf.h`): name, kind and number of members, size or
/// type.
const HEAD_LEN: usize = 12;

/// The greatest number of bytes that are hashed. No name is longer (`KSYM_NAME_LEN`, `include/linux/kallsyms.h`).
const MAX_NAME: usize = 512;

/// A hash of each type's name, by the type's id. A type with the same hash is a candidate; the caller compares the
/// name.
pub(super) struct Names(Vec<u32>);

impl Names {
    /// Makes the index from the bytes of a whole image, whose header has been checked. Returns `None` if the types are
    /// malformed.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let header_len = word(bytes, 4)?;
        let section = |at| {
            let start = header_len.checked_add(word(bytes, at)?)?;
            bytes.get(start..start.checked_add(word(bytes, at + 4)?)?)
        };
        let (mut types, strings) = (section(8)?, section(16)?);
        // Id 0 is `void`, which has no entry in the file.
        let mut hashes = vec![0];
        while !types.is_empty() {
            hashes.push(hash(until_nul(strings.get(word(types, 0)?..)?)));
            types = types.get(HEAD_LEN + tail_len(word(types, 4)?)?..)?;
        }
        Some(Self(hashes))
    }

    /// The ids of the types that may have this name.
    pub(super) fn candidates(&self, name: &str) -> impl Iterator<Item = u32> {
        let wanted = hash(until_nul(name.as_bytes()));
        self.0.iter().zip(0..).filter_map(move |(hash, id)| (*hash == wanted).then_some(id))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 4)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*word)).ok()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes[..bytes.len().min(MAX_NAME)].split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The 32-bit FNV-1a hash.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The number of bytes after `struct btf_type`, which depends on the kind (`BTF_KIND_*`).
fn tail_len(info: usize) -> Option<usize> {
    let (kind, members) = ((info >> 24) & 0x1f, info & 0xffff);
    Some(match kind {
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, type tags.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, declaration tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections of data, 64-bit enums.
        4 | 5 | 15 | 19 => 12 * members,
        // Enums, prototypes of functions.
        6 | 13 => 8 * members,
        _ => return None,
    })
}
