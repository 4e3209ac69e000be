//! Reads a recording as a source, compressed or not: lines of `droptrace.raw.v1`, as `trace --raw` writes them, or the
//! blocks of a `.dtr` file.

#[cfg(test)]
mod block_tests;
mod blocks;
mod ledger;
mod line;
mod lines;
mod names;
mod owner;
mod refused;
mod stack;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use thiserror::Error;

use crate::backend::dtr::FILE_HEADER;
use blocks::Blocks;
use lines::Lines;

pub(crate) use ledger::End;
pub(crate) use line::Entry;
pub(crate) use line::{RawDrop, Start};
pub(crate) use owner::OwnerLine;
pub(crate) use refused::Refused;

/// The schema of recordings that this version writes and reads.
pub(crate) const SCHEMA: &str = "droptrace.raw.v1";

/// Magic number of zstd's frames.
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Reason why a recording cannot be replayed, or not to its end.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The file does not exist, or may not be read.
    #[error("cannot open {path}")]
    Open {
        /// The file's path.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is no recording, or one of another version.
    #[error("this is not a recording: {0}; `droptrace trace -o FILE.dtr` makes one")]
    NotARecording(String),
    /// Another recording stands behind it.
    #[error("{part} {number}: another recording begins here, of {host} (Linux {kernel}); replay takes one at a time")]
    Another {
        /// Parts of the recording.
        part: &'static str,
        /// Line or block of the other recording.
        number: u64,
        /// Host of the other recording.
        host: String,
        /// Kernel of the other recording.
        kernel: String,
    },
    /// Reading failed, or the compressed data is damaged or cut.
    #[error("the recording cannot be read beyond {part} {number}: it is truncated or damaged")]
    Cut {
        /// Parts of the recording.
        part: &'static str,
        /// Number of the last line or block that could be read.
        number: u64,
        /// The error.
        source: io::Error,
    },
}

/// Lines, or blocks, that could not be parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Number of lines or blocks.
    pub(crate) parts: u64,
    /// The number of the first one, and its error.
    pub(crate) first: Option<(u64, String)>,
}

impl Malformed {
    /// Counts a line or a block, by its number.
    fn add(&mut self, number: u64, what: String) {
        self.parts += 1;
        self.first.get_or_insert((number, what));
    }
}

/// The lines or the blocks of a recording.
enum Body {
    Lines(Lines),
    Blocks(Blocks),
}

/// A recording that is being read.
pub(crate) struct Recording {
    body: Body,
    start: Start,
}

impl Recording {
    /// Opens a recording; `-` is stdin.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(path);
            Box::new(file.map_err(|source| Error::Open { path: path.display().to_string(), source })?)
        };
        Self::read(file)
    }

    /// Reads a recording, compressed or not, up to its first line, which describes it.
    pub(crate) fn read(source: impl Read + 'static) -> Result<Self, Error> {
        let cut = |source| Error::Cut { part: Lines::PART, number: 0, source };
        let (magic, whole) = peeked(source, ZSTD_MAGIC.len()).map_err(cut)?;
        let reader: Box<dyn BufRead> = if magic == ZSTD_MAGIC {
            Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(whole).map_err(cut)?))
        } else {
            Box::new(whole)
        };
        let (magic, reader) = peeked(reader, FILE_HEADER.len()).map_err(cut)?;
        Self::of(&magic, Box::new(reader))
    }

    /// `magic` is what the reader begins with.
    fn of(magic: &[u8], mut reader: Box<dyn BufRead>) -> Result<Self, Error> {
        let (version, name) = (FILE_HEADER.last(), &FILE_HEADER[..FILE_HEADER.len() - 1]);
        let body = match magic.strip_prefix(name) {
            Some(found) if found.first() == version => {
                reader.consume(magic.len());
                Body::Blocks(Blocks::new(reader))
            }
            Some(_) => return Err(Error::NotARecording("it is a .dtr file of another version".into())),
            None => Body::Lines(Lines::new(reader)),
        };
        let mut recording = Self { body, start: Start::default() };
        recording.start = match &mut recording.body {
            Body::Lines(lines) => lines.start()?,
            Body::Blocks(blocks) => blocks.start()?,
        };
        Ok(recording)
    }

    /// The facts of the recording's first line.
    pub(crate) const fn start(&self) -> &Start {
        &self.start
    }

    /// The parts that the recording consists of: `line` or `block`.
    pub(crate) const fn part(&self) -> &'static str {
        match self.body {
            Body::Lines(_) => Lines::PART,
            Body::Blocks(_) => Blocks::PART,
        }
    }

    /// Lines or blocks so far that could not be parsed. They are left out.
    pub(crate) const fn malformed(&self) -> &Malformed {
        match &self.body {
            Body::Lines(lines) => &lines.malformed,
            Body::Blocks(blocks) => &blocks.malformed,
        }
    }

    /// The next entry; absent at the end.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let (entry, part, number) = match &mut self.body {
            Body::Lines(lines) => (lines.next_entry()?, Lines::PART, lines.line),
            Body::Blocks(blocks) => (blocks.next_entry()?, Blocks::PART, blocks.block),
        };
        if let Some(Entry::Start(Start { host, .. })) = entry {
            return Err(Error::Another { part, number, host: host.name, kernel: host.kernel });
        }
        Ok(entry)
    }
}

/// The first bytes of a source, and all of it.
fn peeked(source: impl Read + 'static, length: usize) -> io::Result<(Vec<u8>, impl BufRead + 'static)> {
    let mut raw = BufReader::new(source);
    let mut magic = Vec::new();
    raw.by_ref().take(length as u64).read_to_end(&mut magic)?;
    Ok((magic.clone(), io::Cursor::new(magic).chain(raw)))
}

/// Reads the line of a single drop, without its end.
pub(crate) fn drop_of(line: &[u8]) -> Result<RawDrop, Refused> {
    match line::parse(line)? {
        Entry::Drop(drop) => Ok(*drop),
        Entry::Start(_) | Entry::End(_) => Err(Refused::Field("it is not the line of a drop")),
    }
}

/// The description of a recording in its first line.
fn start_of(line: &[u8]) -> Result<Start, Error> {
    match line::parse(line) {
        Ok(Entry::Start(start)) => Ok(start),
        Ok(_) => Err(Error::NotARecording("its first line does not name the host, so it is truncated".into())),
        Err(Refused::Json(_)) => Err(Error::NotARecording("its first line is not the JSON of a recording".into())),
        Err(refused) => Err(Error::NotARecording(refused.to_string())),
    }
}
