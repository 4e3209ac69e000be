//! Reads files that any user may have written, or may replace.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The largest size of a file of settings, keys or passwords in bytes: far more than any such file needs.
pub const MAX_SETTINGS: u64 = 1 << 20;

/// Reads a regular file of at most `bound` bytes. The function never waits for a writer, as opening a FIFO does.
///
/// # Errors
/// Fails with the system's error, or with a message if the file is of another kind or longer.
pub fn read(path: &Path, bound: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("it is {}, not a regular file", kind(&metadata)),
        ));
    }
    read_up_to(file, bound)
}

/// Reads a regular text file of at most `bound` bytes, as [`read`] does.
pub fn read_text(path: &Path, bound: u64) -> io::Result<String> {
    String::from_utf8(read(path, bound)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn read_up_to(file: File, bound: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The length may change while the file is read, and files of the kernel have none.
    file.take(bound + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bound {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {bound} bytes")));
    }
    Ok(bytes)
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// The identity of a file under all its names: its device, and its inode number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The identity of an open file.
    ///
    /// # Errors
    /// Fails with the system's error.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|found| Self::of_metadata(&found))
    }

    /// The identity of an input: `-` is stdin. `None` if the file does not exist.
    pub(crate) fn of_input(path: &Path) -> Option<Self> {
        if path.as_os_str() == "-" {
            return io::stdin().as_fd().try_clone_to_owned().and_then(|stdin| Self::of(&stdin.into())).ok();
        }
        path.metadata().ok().map(|found| Self::of_metadata(&found))
    }

    fn of_metadata(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// A reader of JSON that bounds the length of strings. A parser keeps a string whole, so that a string without an end
/// would take all memory even if the document is read piece by piece.
pub struct ShortStrings<R> {
    inner: R,
    bound: usize,
    /// Bytes of the string that is being read; `None` between strings.
    length: Option<usize>,
    is_escaped: bool,
}

impl<R> ShortStrings<R> {
    /// Fails with [`io::ErrorKind::FileTooLarge`] within a string of more than `bound` bytes.
    pub const fn new(inner: R, bound: usize) -> Self {
        Self { inner, bound, length: None, is_escaped: false }
    }

    /// Returns whether the string that this byte belongs to, if any, is still short enough.
    fn passes(&mut self, byte: u8) -> bool {
        match (&mut self.length, byte) {
            (None, b'"') => self.length = Some(0),
            (None, _) => {}
            (Some(_), b'"') if !self.is_escaped => self.length = None,
            (Some(length), _) => {
                *length += 1;
                self.is_escaped = byte == b'\\' && !self.is_escaped;
                return *length <= self.bound;
            }
        }
        true
    }
}

impl<R: Read> Read for ShortStrings<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if buffer[..read].iter().all(|byte| self.passes(*byte)) {
            return Ok(read);
        }
        let what = format!("a string in it is longer than {} bytes", self.bound);
        Err(io::Error::new(io::ErrorKind::FileTooLarge, what))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn named(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("droptrace-files-{}-{name}", std::process::id()))
    }

    #[test]
    fn only_regular_files_are_read() {
        let fifo = named("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let refused = |path: &Path| read(path, 10).unwrap_err().to_string();
        assert_eq!(refused(&fifo), "it is a FIFO, not a regular file");
        assert_eq!(refused(Path::new("/dev/zero")), "it is a device, not a regular file");
        assert_eq!(refused(Path::new("/")), "it is a folder, not a regular file");
        fs::remove_file(fifo).unwrap();
    }

    #[test]
    fn bound_holds_for_files_without_a_length() {
        let file = named("long");
        fs::write(&file, "0123456789").unwrap();
        assert_eq!(read_text(&file, 10).unwrap(), "0123456789");
        assert_eq!(read(&file, 9).unwrap_err().to_string(), "it is longer than 9 bytes");
        fs::remove_file(file).unwrap();
        assert_eq!(read(Path::new("/proc/self/status"), 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn only_strings_have_a_bound() {
        let read = |text: &str, bound| {
            let mut out = String::new();
            ShortStrings::new(text.as_bytes(), bound).read_to_string(&mut out).map(|_| out)
        };
        let text = r#"{"abc":[1234567890,"a\"c","",true],"abc":"\\"}"#;
        assert_eq!(read(text, 4).unwrap(), text);
        assert_eq!(read(text, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read("\"abcde", 4).unwrap_err().to_string(), "a string in it is longer than 4 bytes");
    }

    #[test]
    fn file_is_recognised_by_any_of_its_names() {
        let (file, link, other) = (named("one"), named("link"), named("other"));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        fs::hard_link(&file, &link).unwrap();
        let opened = Identity::of(&File::open(&file).unwrap()).unwrap();
        assert_eq!([&file, &link].map(|path| Identity::of_input(path)), [Some(opened); 2]);
        assert!(Identity::of_input(&other).is_some_and(|found| found != opened));
        assert_eq!(Identity::of_input(&named("none")), None);
        for path in [file, link, other] {
            fs::remove_file(path).unwrap();
        }
    }
}
