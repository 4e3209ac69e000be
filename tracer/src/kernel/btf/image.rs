//! Opens BTF without parsing the whole file.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use btf_rs::{Backend, Btf};
use memmap2::MmapOptions;
use rustix::fs::MemfdFlags;

use super::BtfError;
use super::names::Names;

/// The length in bytes of `struct btf_header` (`include/uapi/linux/btf.h`), as far as all kernels have it.
const HEADER_LEN: usize = 24;
const MAGIC: u16 = 0xeb9f;

/// The greatest length in bytes that is read. It is far above that of any kernel (5.5 MB on 6.18), and limits the
/// memory that a damaged file takes.
const MAX_LEN: u64 = 256 << 20;

/// Opens the type information of the kernel's image.
pub(super) fn open(path: &Path) -> Result<(Btf, Option<Names>), BtfError> {
    open_by(path, map)
}

fn map(path: &Path) -> btf_rs::Result<Btf> {
    Btf::from_file_with_backend(path, Backend::Mmap)
}

/// The index of the names in a file. It is absent where the file cannot be mapped or its types are malformed.
#[expect(unsafe_code, reason = "to map a file")]
fn names_of(file: &File) -> Option<Names> {
    // The mapping is private because the kernel refuses a shared one (`btf_sysfs_vmlinux_mmap`,
    // `kernel/bpf/sysfs_btf.c`).
    // SAFETY: the kernel never changes its type information, and the mapping ends with this function.
    let bytes = unsafe { MmapOptions::new().map_copy_read_only(file) }.ok()?;
    Names::of(&bytes)
}

/// Opens a file with `map`, or opens a copy of the file where `map` fails with an I/O error.
fn open_by(path: &Path, map: impl FnOnce(&Path) -> btf_rs::Result<Btf>) -> Result<(Btf, Option<Names>), BtfError> {
    let read_error = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => BtfError::Absent { path: path.to_owned() },
        _ => BtfError::Read { path: path.to_owned(), source },
    };
    let mut file = File::open(path).map_err(read_error)?;
    let len = file.metadata().map_err(read_error)?.len();
    let mut bytes = vec![0; HEADER_LEN];
    file.read_exact(&mut bytes).map_err(read_error)?;
    check_header(&bytes, len)?;
    match map(path) {
        // Before 6.16 the kernel cannot map this file, and answers ENODEV.
        Err(btf_rs::Error::IO(_)) => {
            file.take(MAX_LEN).read_to_end(&mut bytes).map_err(read_error)?;
            from_bytes(&bytes)
        }
        other => Ok((other?, names_of(&file))),
    }
}

/// Opens type information from bytes. The bytes go through a file in memory, because `btf-rs` parses everything at once
/// unless the file is mapped.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<(Btf, Option<Names>), BtfError> {
    check(bytes)?;
    let copy = in_memory(bytes).map_err(|source| BtfError::Read { path: "memfd:btf".into(), source })?;
    let path = format!("/proc/self/fd/{}", copy.as_fd().as_raw_fd());
    Ok((map(path.as_ref())?, Names::of(bytes)))
}

fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("btf", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Rejects sections that reach beyond the file, which `btf-rs` does not check.
pub(super) fn check(bytes: &[u8]) -> Result<(), BtfError> {
    check_header(bytes, bytes.len() as u64)
}

fn check_header(bytes: &[u8], len: u64) -> Result<(), BtfError> {
    let malformed = |what: String| Err(BtfError::Malformed(what));
    if bytes.len() < HEADER_LEN || len < HEADER_LEN as u64 {
        return malformed(format!("{len} bytes are too few for a header"));
    }
    if len > MAX_LEN {
        return malformed(format!("{len} bytes are more than the {MAX_LEN} that any kernel needs"));
    }
    let magic = u16::from_ne_bytes([bytes[0], bytes[1]]);
    if magic != MAGIC {
        return malformed(format!("it starts with {magic:#06x} in place of {MAGIC:#06x}"));
    }
    let field = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]).into();
    let header_len: u64 = field(4);
    if header_len < HEADER_LEN as u64 {
        return malformed(format!("its header has {header_len} bytes"));
    }
    for (section, at) in [("types", 8), ("strings", 16)] {
        let (offset, size): (u64, u64) = (field(at), field(at + 4));
        if header_len + offset + size > len {
            return malformed(format!("its {section} reach beyond its {len} bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::writer::Writer;
    use super::*;

    /// Writes `bytes` to a file and opens it as on a kernel that cannot map it.
    fn open_without_mmap(name: &str, bytes: &[u8]) -> Result<Btf, BtfError> {
        let path = std::env::temp_dir().join(format!("droptrace-btf-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let opened = open_by(&path, |_| Err(io::Error::from_raw_os_error(libc::ENODEV).into()));
        std::fs::remove_file(&path).unwrap();
        opened.map(|(btf, _)| btf)
    }

    #[test]
    fn a_kernel_that_cannot_map_is_copied() {
        let mut w = Writer::new();
        let id = w.int("some_type", 4);
        let btf = open_without_mmap("good", &w.finish()).unwrap();
        assert_eq!(btf.resolve_ids_by_name("some_type").unwrap(), [id]);
    }

    #[test]
    fn a_short_file_is_an_error() {
        let bytes = Writer::new().finish();
        assert!(matches!(open_without_mmap("short", &bytes[..20]), Err(BtfError::Read { .. })));
        assert!(matches!(open_without_mmap("shorter", &bytes[..24]), Err(BtfError::Malformed(_))));
    }
}
