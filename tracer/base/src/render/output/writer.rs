//! Writes results unchanged, or compressed with zstd (RFC 8878) if the file's name says so.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use zstd::stream::write::Encoder;

use super::opened::Opened;

/// zstd's own default: about a tenth of the size of recordings, at some hundred megabytes per second.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

type Buffer = BufWriter<Opened>;

enum Form {
    Plain(Buffer),
    Zstd(Box<Encoder<'static, Buffer>>),
}

pub(super) struct Writer {
    form: Form,
    /// Something was written.
    has_begun: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self.form, Form::Plain(_)) { "Plain" } else { "Zstd" })
    }
}

impl Writer {
    pub(super) fn new(capacity: usize, file: Opened, path: Option<&Path>) -> io::Result<Self> {
        let buffer = BufWriter::with_capacity(capacity, file);
        let is_compressed = path.and_then(Path::extension).is_some_and(|extension| extension == "zst");
        let form = if is_compressed {
            let mut encoder = Encoder::new(buffer, LEVEL)?;
            // A damaged file is then reported as damaged.
            encoder.include_checksum(true)?;
            Form::Zstd(Box::new(encoder))
        } else {
            Form::Plain(buffer)
        };
        Ok(Self { form, has_begun: false })
    }

    /// Ends the compressed frame, so that the file is complete. Further calls do nothing.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Form::Zstd(encoder) = &mut self.form {
            encoder.do_finish()?;
        }
        let buffer = match &mut self.form {
            Form::Plain(buffer) => buffer,
            Form::Zstd(encoder) => encoder.get_mut(),
        };
        buffer.flush()?;
        // An empty result replaces an old one, too.
        buffer.get_mut().empty()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.has_begun = true;
        match &mut self.form {
            Form::Plain(buffer) => buffer.write(bytes),
            Form::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Plain(buffer) => buffer.flush(),
            Form::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl Drop for Writer {
    /// After a run that ended with an error, the written part can still be read.
    fn drop(&mut self) {
        if self.has_begun {
            _ = self.finish();
        }
    }
}
