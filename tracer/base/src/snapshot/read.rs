//! Reads snapshots that may come from anywhere: truncated, damaged, of a newer version, or other data altogether.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{NAME, SCHEMA, Snapshot, text};

/// The first bytes of zstd's frames (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The largest size after decompression: hundreds of thousands of rows, more than any host has.
pub(super) const MAX_BYTES: u64 = 128 << 20;
const SCHEMA_PREFIX: &str = "droptrace.snapshot.v";

/// The error of reading a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file does not exist, or may not be read.
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
    /// The snapshot ends too early: its writer was stopped, or it was copied in part.
    #[error("the snapshot is truncated: it ends after {bytes} bytes, within the document")]
    Cut {
        /// Bytes that could be read, after decompression.
        bytes: usize,
    },
    /// The compressed data is inconsistent.
    #[error("the snapshot is damaged: its compressed data cannot be read")]
    Damaged(#[source] io::Error),
    /// The file is longer than any snapshot.
    #[error("the file is too large for a snapshot: more than {bound} bytes, decompressed")]
    TooLarge {
        /// The largest size in bytes.
        bound: u64,
    },
    /// A newer droptrace wrote it.
    #[error("the snapshot has the schema {schema}, which is newer than {SCHEMA}: read it with a newer droptrace")]
    Newer {
        /// The schema of the document.
        schema: String,
    },
    /// The document is JSON of another schema.
    #[error("the file is not a snapshot: its schema is {schema}, not {SCHEMA}")]
    Other {
        /// The schema of the document.
        schema: String,
    },
    /// The document is not JSON, or lacks a part of a snapshot.
    #[error("the file is not a snapshot, or it is damaged")]
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
        // The errors of the zstd library have no number, unlike those of the system.
        Err(error) if error.raw_os_error().is_some() => Err(ReadError::Io(error)),
        Err(error) => Err(ReadError::Damaged(error)),
    }
}

/// The field that all schemas have.
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
        // A truncated document may only look wrong because it is truncated.
        Err(error) if error.is_eof() => Err(ReadError::Cut { bytes: bytes.len() }),
        _ => Err(ReadError::Malformed(refused)),
    }
}

fn of_schema(schema: String) -> ReadError {
    let version = schema.strip_prefix(SCHEMA_PREFIX).and_then(|version| version.parse::<u32>().ok());
    if version.is_some_and(|version| version > 1) { ReadError::Newer { schema } } else { ReadError::Other { schema } }
}
