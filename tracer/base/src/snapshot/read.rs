//! Reads what may come from anywhere: cut, damaged, of a newer version, or something else altogether.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{NAME, SCHEMA, Snapshot, text};

/// What zstd's frames begin with (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// More than any host has to tell, after decompression: hundreds of thousands of rows.
pub(super) const MAX_BYTES: u64 = 128 << 20;
const SCHEMA_PREFIX: &str = "droptrace.snapshot.v";

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file, or it may not be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Reading failed.
    #[error("reading failed")]
    Io(#[source] io::Error),
    /// It ends too early: whoever wrote it was stopped, or it was copied in part.
    #[error("it is cut: it ends after {bytes} bytes, within the document")]
    Cut {
        /// How many could be read, after decompression.
        bytes: usize,
    },
    /// The compressed data contradicts itself.
    #[error("it is damaged: what is compressed cannot be read")]
    Damaged(#[source] io::Error),
    /// It is longer than any snapshot.
    #[error("it is too large for a snapshot: more than {bound} bytes, decompressed")]
    TooLarge {
        /// Bytes that it may have.
        bound: u64,
    },
    /// A newer droptrace wrote it.
    #[error("it has the form {schema}, which is newer than {SCHEMA}: a newer droptrace can read it")]
    Newer {
        /// Its form.
        schema: String,
    },
    /// It is JSON of another kind.
    #[error("it is no snapshot: its form is {schema}, not {SCHEMA}")]
    Other {
        /// Its form.
        schema: String,
    },
    /// It is no JSON, or lacks what a snapshot has.
    #[error("it is no snapshot, or a damaged one")]
    Malformed(#[source] serde_json::Error),
}

/// Reads a file, compressed or not, whatever its name.
pub fn read_file(path: &Path) -> Result<Snapshot, ReadError> {
    let file = File::open(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
    read(file)
}

/// Reads one snapshot, compressed or not.
pub fn read(source: impl Read) -> Result<Snapshot, ReadError> {
    read_up_to(source, MAX_BYTES)
}

pub(super) fn read_up_to(mut source: impl Read, limit: u64) -> Result<Snapshot, ReadError> {
    let mut bytes = Vec::new();
    source.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes == ZSTD_MAGIC {
        let whole = io::BufReader::new(io::Cursor::new(ZSTD_MAGIC).chain(source));
        return parse(&decompress(whole, limit)?, limit);
    }
    if ZSTD_MAGIC.starts_with(&bytes) {
        return Err(ReadError::Cut { bytes: bytes.len() });
    }
    source.take(limit).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    parse(&bytes, limit)
}

fn decompress(source: impl io::BufRead, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(ReadError::Io)?;
    match decoder.take(limit + 1).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ReadError::Cut { bytes: bytes.len() }),
        // The library's own errors have no number; the system's do.
        Err(error) if error.raw_os_error().is_some() => Err(ReadError::Io(error)),
        Err(error) => Err(ReadError::Damaged(error)),
    }
}

/// What all forms have.
#[derive(Deserialize)]
struct Head {
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    schema: String,
}

fn parse(bytes: &[u8], limit: u64) -> Result<Snapshot, ReadError> {
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { bound: limit });
    }
    let refused = match serde_json::from_slice::<Snapshot>(bytes) {
        Ok(snapshot) if snapshot.schema == SCHEMA => return Ok(snapshot),
        Ok(snapshot) => return Err(of_schema(snapshot.schema)),
        Err(error) if error.is_eof() => return Err(ReadError::Cut { bytes: bytes.len() }),
        Err(error) => error,
    };
    match serde_json::from_slice::<Head>(bytes) {
        Ok(Head { schema }) if schema != SCHEMA => Err(of_schema(schema)),
        // It may only look wrong where it is cut.
        Err(error) if error.is_eof() => Err(ReadError::Cut { bytes: bytes.len() }),
        _ => Err(ReadError::Malformed(refused)),
    }
}

fn of_schema(schema: String) -> ReadError {
    let version = schema.strip_prefix(SCHEMA_PREFIX).and_then(|version| version.parse::<u32>().ok());
    if version.is_some_and(|version| version > 1) { ReadError::Newer { schema } } else { ReadError::Other { schema } }
}
