//! Reads a recording of blocks.

use std::io::{self, BufRead, Read as _};

use zerocopy::FromBytes as _;

use super::line::{self, Entry, Start};
use super::names::Names;
use super::{Error, Malformed, start_of};
use crate::backend::dtr::{BlockHeader, BlockKind, checksum, records};

/// A recording of blocks that is being read.
pub(super) struct Blocks {
    reader: Box<dyn BufRead>,
    /// The entries of the last block, the next one last.
    entries: Vec<Entry>,
    /// Number of the last block.
    pub(super) block: u64,
    pub(super) malformed: Malformed,
}

/// A block with a right checksum.
struct Block {
    header: BlockHeader,
    body: Vec<u8>,
    names: Vec<u8>,
}

/// What was read instead of a block with a right checksum.
enum Found {
    Block(Block),
    Damaged,
    End,
}

impl Blocks {
    pub(super) const PART: &str = "block";

    pub(super) fn new(reader: Box<dyn BufRead>) -> Self {
        Self { reader, entries: Vec::new(), block: 0, malformed: Malformed::default() }
    }

    /// Reads the first block.
    pub(super) fn start(&mut self) -> Result<Start, Error> {
        let missing = || Error::NotARecording("its first block does not name the host, so it is truncated".into());
        match self.read() {
            Ok(Found::Block(Block { header, body, .. })) if is_lines(&header) => start_of(&body),
            _ => Err(missing()),
        }
    }

    /// The next entry; absent at the end.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if let Some(entry) = self.entries.pop() {
                return Ok(Some(entry));
            }
            let number = self.block;
            match self.read().map_err(|source| Error::Cut { part: Self::PART, number, source })? {
                Found::Block(block) => self.open(&block),
                Found::Damaged => self.malformed.add(self.block, "its checksum is wrong".into()),
                Found::End => return Ok(None),
            }
        }
    }

    fn read(&mut self) -> io::Result<Found> {
        let mut head = [0; size_of::<BlockHeader>()];
        let length = read_up_to(&mut self.reader, &mut head)?;
        if length == 0 {
            return Ok(Found::End);
        }
        if length < head.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = BlockHeader::read_from_bytes(&head).map_err(|_| io::ErrorKind::InvalidData)?;
        if !header.is_sound() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let body = self.section(header.body.get())?;
        let names = self.section(header.names.get())?;
        self.block += 1;
        if header.checksum.get() != checksum(&header, &[&body, &names]) {
            return Ok(Found::Damaged);
        }
        Ok(Found::Block(Block { header, body, names }))
    }

    /// Memory is taken for what is there, whatever the header says.
    fn section(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(length.into()).read_to_end(&mut bytes)?;
        if read as u64 == u64::from(length) { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Takes the entries of a block.
    fn open(&mut self, block: &Block) {
        let opened = match BlockKind::of(block.header.kind) {
            Some(BlockKind::Lines) => self.open_lines(&block.body),
            Some(BlockKind::Records) => self.open_records(block),
            None => Err("its kind is unknown".into()),
        };
        self.entries.reverse();
        if let Err(what) = opened {
            self.malformed.add(self.block, what);
        }
    }

    fn open_lines(&mut self, body: &[u8]) -> Result<(), String> {
        let mut opened = Ok(());
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            match line::parse(line) {
                Ok(entry) => self.entries.push(entry),
                Err(refused) => opened = opened.and(Err(refused.to_string())),
            }
        }
        opened
    }

    fn open_records(&mut self, block: &Block) -> Result<(), String> {
        let names = Names::of(&block.header, &block.names).map_err(|refused| refused.to_string())?;
        let mut known = 0_u32;
        for drop in records(&block.body).filter_map(|record| names.drop(record)) {
            self.entries.push(Entry::Drop(Box::new(drop)));
            known += 1;
        }
        let all = block.header.records.get();
        if known == all { Ok(()) } else { Err(format!("{known} of its {all} records could be decoded")) }
    }
}

fn is_lines(header: &BlockHeader) -> bool {
    BlockKind::of(header.kind) == Some(BlockKind::Lines)
}

/// Fills the buffer unless the source ends first. Returns the bytes that were read.
fn read_up_to(reader: &mut dyn BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
