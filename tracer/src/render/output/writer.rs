//! Results as they are, or compressed by zstd (RFC 8878) where the file's name says so.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use zstd::stream::write::Encoder;

/// zstd's own default: about a tenth of the size of recordings, at some hundred megabytes a second.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// An open file, whose old content goes with the first byte that is written: a run that fails before leaves it as it was.
pub(super) struct Opened {
    file: Arc<File>,
    has_old_content: bool,
}

impl Opened {
    /// Of a file that is new or empty, or that is appended to, nothing goes.
    pub(super) const fn new(file: Arc<File>, has_old_content: bool) -> Self {
        Self { file, has_old_content }
    }

    fn empty(&mut self) -> io::Result<()> {
        if self.has_old_content {
            self.file.set_len(0)?;
            self.has_old_content = false;
        }
        Ok(())
    }
}

impl Write for Opened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.empty()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

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
            // A damaged file is told as such.
            encoder.include_checksum(true)?;
            Form::Zstd(Box::new(encoder))
        } else {
            Form::Plain(buffer)
        };
        Ok(Self { form, has_begun: false })
    }

    /// Ends the compressed frame, so that it is whole. More than once does nothing more.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Form::Zstd(encoder) = &mut self.form {
            encoder.do_finish()?;
        }
        let buffer = match &mut self.form {
            Form::Plain(buffer) => buffer,
            Form::Zstd(encoder) => encoder.get_mut(),
        };
        buffer.flush()?;
        // Results of nothing replace old ones, too.
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
    /// Where a run ended by an error, what was written can still be read.
    fn drop(&mut self) {
        if self.has_begun {
            _ = self.finish();
        }
    }
}
