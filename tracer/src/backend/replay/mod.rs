//! Reads a recording as a source: `droptrace.raw.v1`, as `trace --raw` writes it, compressed or not.

mod ledger;
mod line;
mod owner;
mod refused;
mod stack;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use thiserror::Error;

pub use ledger::End;
pub use line::{Entry, RawDrop, Start};
pub use owner::OwnerLine;
pub use refused::Refused;

/// The schema of recordings that this version writes and reads.
pub const SCHEMA: &str = "droptrace.raw.v1";

/// Bytes of the longest line: a packet of 64 KiB in hexadecimal, and room for all other fields.
const MAX_LINE: u64 = 256 << 10;

/// Magic number of zstd's frames.
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Reason why a recording cannot be replayed, or not to its end.
#[derive(Debug, Error)]
pub enum Error {
    /// The file does not exist, or may not be read.
    #[error("cannot open {path}")]
    Open {
        /// The file's path.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is no recording, or one of another version.
    #[error("this is not a recording: {0}; `droptrace trace --raw -o FILE` makes one")]
    NotARecording(String),
    /// Another recording stands behind it.
    #[error("line {line}: another recording begins here, of {host} (Linux {kernel}); replay takes one at a time")]
    Another {
        /// Line of the other recording.
        line: u64,
        /// Host of the other recording.
        host: String,
        /// Kernel of the other recording.
        kernel: String,
    },
    /// Reading failed, or the compressed data is damaged or cut.
    #[error("the recording cannot be read beyond line {line}: it is truncated or damaged")]
    Cut {
        /// Number of the last line that could be read.
        line: u64,
        /// The error.
        source: io::Error,
    },
}

/// Lines that could not be parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Malformed {
    /// Number of lines.
    pub lines: u64,
    /// The number of the first one, and its error.
    pub first: Option<(u64, String)>,
}

/// A recording that is being read.
pub struct Recording {
    reader: Box<dyn BufRead>,
    line: u64,
    text: Vec<u8>,
    start: Start,
    malformed: Malformed,
}

impl Recording {
    /// Opens a recording; `-` is stdin.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(path);
            Box::new(file.map_err(|source| Error::Open { path: path.display().to_string(), source })?)
        };
        Self::read(file)
    }

    /// Reads a recording, compressed or not, up to its first line, which describes it.
    pub fn read(source: impl Read + 'static) -> Result<Self, Error> {
        let cut = |source| Error::Cut { line: 0, source };
        let mut raw = BufReader::new(source);
        let mut magic = Vec::new();
        raw.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic).map_err(cut)?;
        let is_compressed = magic == ZSTD_MAGIC;
        let whole = io::Cursor::new(magic).chain(raw);
        let reader: Box<dyn BufRead> = if is_compressed {
            Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(whole).map_err(cut)?))
        } else {
            Box::new(whole)
        };
        let (text, start, malformed) = (Vec::new(), Start::default(), Malformed::default());
        let mut recording = Self { reader, line: 0, text, start, malformed };
        recording.read_start()?;
        Ok(recording)
    }

    /// The facts of the recording's first line.
    pub const fn start(&self) -> &Start {
        &self.start
    }

    /// Lines so far that could not be parsed. They are left out.
    pub const fn malformed(&self) -> &Malformed {
        &self.malformed
    }

    /// The next entry; absent at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        while self.next_line()? {
            match line::parse(&self.text) {
                Ok(Entry::Start(Start { host, .. })) => {
                    return Err(Error::Another { line: self.line, host: host.name, kernel: host.kernel });
                }
                Ok(entry) => return Ok(Some(entry)),
                Err(refused) => self.refuse(refused.to_string()),
            }
        }
        Ok(None)
    }

    fn read_start(&mut self) -> Result<(), Error> {
        if !self.next_line()? {
            return Err(Error::NotARecording("it is empty".into()));
        }
        self.start = match line::parse(&self.text) {
            Ok(Entry::Start(start)) => start,
            Ok(_) => {
                return Err(Error::NotARecording("its first line does not name the host, so it is truncated".into()));
            }
            Err(Refused::Json(_)) => {
                return Err(Error::NotARecording("its first line is not the JSON of a recording".into()));
            }
            Err(refused) => return Err(Error::NotARecording(refused.to_string())),
        };
        Ok(())
    }

    /// Reads a line that is not too long. Returns whether there was one.
    fn next_line(&mut self) -> Result<bool, Error> {
        loop {
            self.text.clear();
            let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.text);
            let read = read.map_err(|source| Error::Cut { line: self.line, source })?;
            if read == 0 {
                return Ok(false);
            }
            self.line += 1;
            if self.text.ends_with(b"\n") || (read as u64) < MAX_LINE {
                return Ok(true);
            }
            if self.line == 1 {
                // The file is no recording: the rest, which may have no end, is not read.
                let cause = format!("its first line is longer than {} KiB", MAX_LINE >> 10);
                return Err(Error::NotARecording(cause));
            }
            self.reader.skip_until(b'\n').map_err(|source| Error::Cut { line: self.line, source })?;
            self.refuse("too long".into());
        }
    }

    fn refuse(&mut self, what: String) {
        self.malformed.lines += 1;
        let line = self.line;
        self.malformed.first.get_or_insert((line, what));
    }
}
