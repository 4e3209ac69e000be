//! The build id of the running kernel.

use std::fs;

use object::read::elf::NoteIterator;
use object::{Endianness, elf};

/// The notes of the running kernel's image, padded to words of four bytes.
const NOTES: &str = "/sys/kernel/notes";

/// The kernel's GNU build id in hexadecimal, the same for all hosts with the same image. It is absent if the kernel
/// does not report it.
pub(crate) fn of_the_kernel() -> Option<String> {
    of_notes(&fs::read(NOTES).ok()?)
}

/// Finds the note with the owner `GNU` and the type `NT_GNU_BUILD_ID` (`include/linux/elfnote.h`, `lib/buildid.c`).
fn of_notes(notes: &[u8]) -> Option<String> {
    // Notes of 64-bit files have the same layout as those of 32-bit files.
    let mut notes = NoteIterator::<elf::FileHeader64<Endianness>>::new(endianness(), 4, notes).ok()?;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == elf::ELF_NOTE_GNU && note.n_type(endianness()) == elf::NT_GNU_BUILD_ID {
            let digits: Vec<_> = note.desc().iter().map(|byte| format!("{byte:02x}")).collect();
            return (!digits.is_empty()).then(|| digits.concat());
        }
    }
    None
}

const fn endianness() -> Endianness {
    if cfg!(target_endian = "big") { Endianness::Big } else { Endianness::Little }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note with padding after its name and its description.
    fn note(name: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
        let words = [name.len(), description.len()].map(|length| u32::try_from(length).unwrap());
        let mut bytes: Vec<u8> = [words[0], words[1], kind].iter().flat_map(|word| word.to_ne_bytes()).collect();
        for part in [name, description] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn build_id_is_found_among_other_notes() {
        let other = note(b"Linux\0", 0x101, &[0]);
        let wanted = note(b"GNU\0", 3, &[0x48, 0xdc, 0x54, 0x0c, 0x8b]);
        assert_eq!(of_notes(&[other.clone(), wanted, other.clone()].concat()).as_deref(), Some("48dc540c8b"));
        assert_eq!(of_notes(&other), None);
        assert_eq!(of_notes(&note(b"GNU\0", 3, &[])), None);
    }

    #[test]
    fn truncated_notes_have_the_whole_build_id_or_none() {
        let whole = note(b"GNU\0", 3, &[1, 2, 3, 4]);
        for length in 0..whole.len() {
            assert_eq!(of_notes(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(of_notes(&whole).as_deref(), Some("01020304"));
    }
}
