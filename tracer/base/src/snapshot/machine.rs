//! An identifier that distinguishes machines with the same name.

use std::path::Path;

use ring::hmac;

use crate::files;

/// The file is written when the system is installed or first started (`machine-id(5)`).
const FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// The file has 33 bytes.
const MAX_BYTES: u64 = 64;
/// The id itself is confidential, as its manual says: droptrace shows only a value derived from it for this purpose.
const PURPOSE: &[u8] = b"droptrace snapshot";

/// The identifier of this machine in hexadecimal, which stays the same across boots; `None` if the machine has no id.
pub fn machine() -> Option<String> {
    FILES.iter().find_map(|file| hashed(&files::read_text(Path::new(file), MAX_BYTES).ok()?))
}

/// `None` for an id that is empty, `uninitialized` or only zeros, because many machines have those.
fn hashed(text: &str) -> Option<String> {
    let id = text.trim();
    let is_id = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()) && id.chars().any(|c| c != '0');
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, id.to_ascii_lowercase().as_bytes()), PURPOSE);
    let (first, _) = tag.as_ref().split_first_chunk()?;
    is_id.then(|| format!("{:016x}", u64::from_be_bytes(*first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_stable_and_not_shown() {
        let id = "0123456789abcdef0123456789abcdef";
        let machine = hashed(&format!("{id}\n")).unwrap();
        assert_eq!((machine.len(), Some(&machine)), (16, hashed(&id.to_uppercase()).as_ref()));
        assert!(!id.contains(&machine) && Some(machine) != hashed("1123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn id_that_many_machines_share_is_none() {
        for text in [
            "",
            "\n",
            "uninitialized\n",
            "00000000000000000000000000000000",
            "0123",
            "0123456789abcdef0123456789abcdeg",
        ] {
            assert_eq!(hashed(text), None, "{text}");
        }
    }
}
