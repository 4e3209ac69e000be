//! Results as they are, or compressed by zstd (RFC 8878) where the file's name says so.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use zstd::stream::write::Encoder;

/// zstd's own default: about a tenth of the size of recordings, at some hundred megabytes a second.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

type Buffer = BufWriter<Arc<File>>;

pub(super) enum Writer {
    Plain(Buffer),
    Zstd(Box<Encoder<'static, Buffer>>),
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Plain(_)) { "Plain" } else { "Zstd" })
    }
}

impl Writer {
    pub(super) fn new(buffer: Buffer, path: Option<&Path>) -> io::Result<Self> {
        let is_compressed = path.and_then(Path::extension).is_some_and(|extension| extension == "zst");
        if !is_compressed {
            return Ok(Self::Plain(buffer));
        }
        let mut encoder = Encoder::new(buffer, LEVEL)?;
        // A damaged file is told as such.
        encoder.include_checksum(true)?;
        Ok(Self::Zstd(Box::new(encoder)))
    }

    /// Ends the compressed frame, so that it is whole. More than once does nothing more.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Self::Zstd(encoder) = self {
            encoder.do_finish()?;
            return encoder.get_mut().flush();
        }
        self.flush()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(buffer) => buffer.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(buffer) => buffer.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl Drop for Writer {
    /// Where a run ended by an error, what was written can still be read.
    fn drop(&mut self) {
        _ = self.finish();
    }
}
