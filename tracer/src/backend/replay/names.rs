//! Gives the names of a block to its records.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use zerocopy::FromBytes as _;

use super::line::{self, Entry, RawDrop};
use super::refused::Refused;
use super::stack;
use crate::backend::dtr::{BlockHeader, KeyBytes, NameKind, entries};
use crate::backend::ebpf::{CallStack, Record};
use crate::domain::event::{Location, NamedKey, Origin};
use crate::domain::owner::Process;
use crate::kernel::clock::Clock;

/// The names of a block.
pub(super) struct Names {
    keys: HashMap<KeyBytes, NamedKey, RandomState>,
    processes: HashMap<u64, Arc<Process>, RandomState>,
    functions: HashMap<u64, Arc<Location>, RandomState>,
    clock: Clock,
    received_ns: u64,
}

impl Names {
    /// Reads the names of a block.
    pub(super) fn of(header: &BlockHeader, section: &[u8]) -> Result<Self, Refused> {
        let mut names = Self {
            keys: HashMap::default(),
            processes: HashMap::default(),
            functions: HashMap::default(),
            clock: Clock::at(header.clock_ns.get()),
            received_ns: header.received_ns.get(),
        };
        entries(section).try_for_each(|(kind, number, text)| names.add(kind, number, text))?;
        Ok(names)
    }

    fn add(&mut self, kind: u8, number: &[u8], text: &[u8]) -> Result<(), Refused> {
        let short = || Refused::Field("a number of the names has another length");
        let number_of = || number.try_into().map(u64::from_le_bytes).map_err(|_| short());
        match NameKind::of(kind) {
            Some(NameKind::Key) => {
                let number = KeyBytes::read_from_bytes(number).map_err(|_| short())?;
                self.keys.insert(number, key(text)?);
            }
            Some(NameKind::Socket) => {
                self.processes.insert(number_of()?, Arc::new(process(text)?));
            }
            Some(NameKind::Address) => {
                let address = number_of()?;
                self.functions.insert(address, Arc::new(function(address, text)?));
            }
            None => return Err(Refused::Field("a name is of an unknown kind")),
        }
        Ok(())
    }

    /// The drop of a record; absent if the record cannot be decoded, or its key has no names.
    pub(super) fn drop(&self, record: &[u8]) -> Option<RawDrop> {
        let Record { report, bytes } = Record::parse(record)?;
        let header = &report.header;
        let (addresses, bytes) = report.split(bytes);
        let call_stack = CallStack::of(addresses, header.key.location);
        let functions = call_stack.addresses().map(|address| self.function(address));
        let stack: Vec<_> = functions.skip_while(|function| call_stack.is_before(function)).collect();
        let inode = report.socket_inode();
        Some(RawDrop {
            origin: Origin::Ebpf,
            timestamp: self.clock.real(header.timestamp_ns),
            received_ns: self.received_ns,
            watermark_ns: self.received_ns,
            key: self.keys.get(&KeyBytes { key: header.key, names: report.names() })?.clone(),
            length: header.length,
            start: report.start,
            bytes: bytes.to_vec(),
            facts: report.facts(),
            process: inode.and_then(|inode| self.processes.get(&inode)).cloned(),
            stack,
        })
    }

    fn function(&self, address: u64) -> Arc<Location> {
        let unknown = || Arc::new(Location { address, symbol: None, trap_group: None });
        self.functions.get(&address).map_or_else(unknown, Arc::clone)
    }
}

fn key(text: &[u8]) -> Result<NamedKey, Refused> {
    match line::parse(text)? {
        Entry::Drop(drop) => Ok(drop.key),
        _ => Err(Refused::Field("the text of an aggregation key is not the line of a drop")),
    }
}

fn process(text: &[u8]) -> Result<Process, Refused> {
    let process: Process = serde_json::from_slice(text)?;
    let is_short = process.comm.as_ref().is_none_or(|comm| comm.len() <= stack::LONGEST);
    if is_short { Ok(process) } else { Err(Refused::Field("the name of a process is too long")) }
}

fn function(address: u64, text: &[u8]) -> Result<Location, Refused> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= stack::LONGEST);
    let location = text.and_then(stack::location).ok_or(Refused::Field("a function has no offset"))?;
    Ok(Location { address, ..location })
}
