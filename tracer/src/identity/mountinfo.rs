//! The mounts of a process (`proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mount in the text of `/proc/self/mountinfo`.
pub(crate) struct Mount<'t> {
    /// The folder, or the file, of the file system that is visible at the mount point: `net:[4026532201]` for a namespace.
    pub(crate) root: &'t [u8],
    point: &'t [u8],
    /// Mounts that are made later at a peer of this mount, or at its master, appear here too: the optional fields have
    /// `shared:N` or `master:N` (`Documentation/filesystems/sharedsubtree.rst`).
    pub(crate) receives_mounts: bool,
    /// The type of the file system.
    pub(crate) kind: &'t [u8],
}

impl Mount<'_> {
    /// The mount point.
    pub(crate) fn point(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(unescaped(self.point)))
    }
}

/// The mounts in the text of a `mountinfo`. Other lines are left out.
pub(crate) fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(parse)
}

fn parse(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    // Any number of optional fields stands before the hyphen.
    let mut receives_mounts = false;
    let _hyphen = fields.by_ref().skip(1).find(|field| {
        receives_mounts |= field.starts_with(b"shared:") || field.starts_with(b"master:");
        *field == b"-"
    })?;
    Some(Mount { root, point, receives_mounts, kind: fields.next()? })
}

/// Undoes the kernel's escapes of blanks, ends of lines and backslashes: three octal digits (`mangle_path`,
/// `fs/seq_file.c`).
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        let digits = more.first_chunk::<3>().filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = code.map_or(more, |_| &more[3..]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn file_of_a_namespace_is_the_root_of_its_mount() {
        let text = b"50 1 0:4 net:[4026532201] /mnt/a\\040b rw shared:9 - nsfs nsfs rw\nno mount\n";
        let found: Vec<_> = mounts(text).map(|mount| (mount.root, mount.kind, mount.point())).collect();
        assert_eq!(found, [(&b"net:[4026532201]"[..], &b"nsfs"[..], PathBuf::from("/mnt/a b"))]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (mounts(&bytes).count(), unescaped(&bytes));
        }
    }
}
