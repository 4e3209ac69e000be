//! Reads a recording of lines.

use std::io::{BufRead, Read as _};

use super::line::{self, Entry, Start};
use super::{Error, Malformed, start_of};

/// Bytes of the longest line: a packet of 64 KiB in hexadecimal, and room for all other fields.
const MAX_LINE: u64 = 256 << 10;

/// A recording of lines that is being read.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    text: Vec<u8>,
    /// Number of the last line.
    pub(super) line: u64,
    pub(super) malformed: Malformed,
}

impl Lines {
    pub(super) const PART: &str = "line";

    pub(super) fn new(reader: Box<dyn BufRead>) -> Self {
        Self { reader, text: Vec::new(), line: 0, malformed: Malformed::default() }
    }

    /// Reads the first line.
    pub(super) fn start(&mut self) -> Result<Start, Error> {
        if !self.next_line()? {
            return Err(Error::NotARecording("it is empty".into()));
        }
        start_of(&self.text)
    }

    /// The next entry; absent at the end.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        while self.next_line()? {
            match line::parse(&self.text) {
                Ok(entry) => return Ok(Some(entry)),
                Err(refused) => self.malformed.add(self.line, refused.to_string()),
            }
        }
        Ok(None)
    }

    /// Reads a line that is not too long. Returns whether there was one.
    fn next_line(&mut self) -> Result<bool, Error> {
        loop {
            self.text.clear();
            let cut = |source| Error::Cut { part: Self::PART, number: self.line, source };
            let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.text).map_err(cut)?;
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
            let cut = |source| Error::Cut { part: Self::PART, number: self.line, source };
            self.reader.skip_until(b'\n').map_err(cut)?;
            self.malformed.add(self.line, "too long".into());
        }
    }
}
