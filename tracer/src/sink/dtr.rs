//! Recordings in blocks: the format `.dtr`, to be read again by [`crate::backend::replay`].

use std::io::{self, Write};

use zerocopy::IntoBytes;

use super::json::{RawJson, RawOptions, line_of_key};
use super::{DropSink, RunEnd};
use crate::backend::dtr::{BlockHeader, BlockKind, FILE_HEADER, NameHeader, NameKind, Records};
use crate::dimension;
use crate::domain::dedupe::Moment;
use crate::domain::event::{DropEvent, Timestamp};
use crate::domain::report::Host;
use crate::outside::to_json;
use crate::pipeline::normalise::BlockNames;

/// Bytes of lines that make a block.
const FULL: usize = 64 << 10;

/// Writes blocks. Each block is passed to the system when it is complete.
///
/// Records of the BPF program are written as they came. The first and the last line, and the drops of other backends,
/// are lines of `droptrace.raw.v1`.
pub struct Dtr<W> {
    out: W,
    lines: RawJson<Vec<u8>>,
    names: Names,
    now: Moment,
}

impl<W: Write> Dtr<W> {
    /// Writes to `out`.
    pub fn new(out: W, options: RawOptions) -> Self {
        Self { out, lines: RawJson::new(Vec::new(), options), names: Names::default(), now: Moment::default() }
    }

    fn write(&mut self, header: BlockHeader, body: &[u8]) -> io::Result<()> {
        self.out.write_all(header.sealed(body, &self.names.section).as_bytes())?;
        self.out.write_all(body)?;
        self.out.write_all(&self.names.section)
    }

    /// Writes the lines so far as a block.
    fn write_lines(&mut self) -> io::Result<()> {
        let lines = std::mem::take(self.lines.out());
        if lines.is_empty() {
            return Ok(());
        }
        self.names.section.clear();
        let written = self.write(BlockHeader::new(BlockKind::Lines), &lines);
        *self.lines.out() = lines;
        self.lines.out().clear();
        written
    }
}

impl<W: Write> DropSink for Dtr<W> {
    fn start(&mut self, host: &Host, started_at: Timestamp) -> io::Result<()> {
        self.out.write_all(&FILE_HEADER)?;
        self.lines.start(host, started_at)?;
        self.flush()
    }

    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        self.lines.event(event)?;
        if self.lines.out().len() < FULL { Ok(()) } else { self.write_lines() }
    }

    fn block(&mut self, records: &Records, names: &BlockNames) -> io::Result<()> {
        self.write_lines()?;
        self.names.set(names)?;
        let mut header = BlockHeader::new(BlockKind::Records);
        header.records = records.count().into();
        header.received_ns = self.now.0.into();
        header.clock_ns = names.clock_ns.into();
        self.write(header, records.as_bytes())
    }

    fn reading(&mut self, now: Moment, settled: Moment) {
        self.now = now;
        self.lines.reading(now, settled);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_lines()?;
        self.out.flush()
    }

    fn finish(&mut self, end: &RunEnd<'_>) -> io::Result<()> {
        self.lines.finish(end)?;
        self.flush()
    }
}

/// The section of names. Allocated memory is used again.
#[derive(Default)]
struct Names {
    section: Vec<u8>,
    text: Vec<u8>,
}

impl Names {
    fn set(&mut self, names: &BlockNames) -> io::Result<()> {
        self.section.clear();
        for (number, key) in &names.keys {
            line_of_key(&mut self.text, key)?;
            self.add(NameKind::Key, number.as_bytes());
        }
        for (inode, process) in &names.processes {
            to_json(&mut self.text, &**process)?;
            self.add(NameKind::Socket, &inode.to_le_bytes());
        }
        for (address, function) in &names.functions {
            self.text.extend_from_slice(dimension::site(function, usize::MAX).as_bytes());
            self.add(NameKind::Address, &address.to_le_bytes());
        }
        Ok(())
    }

    /// Adds an entry with the text so far.
    fn add(&mut self, kind: NameKind, number: &[u8]) {
        self.section.extend_from_slice(NameHeader::new(kind, number, &self.text).as_bytes());
        self.section.extend_from_slice(number);
        self.section.append(&mut self.text);
    }
}
