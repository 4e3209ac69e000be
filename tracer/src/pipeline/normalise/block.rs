//! The names of the numbers in a block of records: each number is looked up once for each block.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Normaliser;
use crate::backend::dtr::{KeyBytes, Records};
use crate::backend::ebpf::{EbpfSource, Record};
use crate::domain::event::{Location, NamedKey};
use crate::domain::owner::Process;

/// The names of the numbers in a block of records. Allocated memory is used again.
#[derive(Default)]
pub struct BlockNames {
    /// The aggregation keys.
    pub keys: Vec<(KeyBytes, Arc<NamedKey>)>,
    /// The processes by the inode numbers of sockets; only sockets whose process is known.
    pub processes: Vec<(u64, Arc<Process>)>,
    /// The functions of call stacks by address.
    pub functions: Vec<(u64, Arc<Location>)>,
    /// Real time minus the clock of the records, in nanoseconds.
    pub clock_ns: i64,
    numbers: Numbers,
}

/// The numbers of a block.
#[derive(Default)]
struct Numbers {
    keys: HashSet<KeyBytes, RandomState>,
    sockets: HashSet<u64, RandomState>,
    addresses: HashSet<u64, RandomState>,
}

impl Numbers {
    fn of(&mut self, records: &Records) {
        self.keys.clear();
        self.sockets.clear();
        self.addresses.clear();
        let (mut last, mut last_socket) = (None, None);
        for record in records.iter().filter_map(Record::parse) {
            let report = &record.report;
            let key = KeyBytes { key: report.header.key, names: report.names() };
            // A flood has few keys, and mostly one after the other.
            if last != Some(key) {
                self.keys.insert(key);
                last = Some(key);
            }
            let socket = report.socket_inode();
            if last_socket != socket {
                self.sockets.extend(socket);
                last_socket = socket;
            }
            let addresses = report.split(record.bytes).0.iter().map(|address| u64::from_ne_bytes(*address));
            self.addresses.extend(addresses.take_while(|address| *address != 0));
        }
    }
}

impl Normaliser {
    /// Looks up the names of the numbers in these records. `source` has the names of devlink traps; they are
    /// unknown without it. If `is_idle`, no more records wait, and the processes of sockets are searched first.
    pub fn block_names(
        &mut self,
        records: &Records,
        names: &mut BlockNames,
        source: Option<&EbpfSource>,
        is_idle: bool,
    ) {
        let BlockNames { keys, processes, functions, clock_ns, numbers } = names;
        numbers.of(records);
        *clock_ns = self.clock.offset_ns();
        keys.clear();
        for of in &numbers.keys {
            let trap = source.and_then(|source| source.trap(&of.key));
            keys.push((*of, self.named_key(&of.key, of.names, trap)));
        }
        functions.clear();
        functions.extend(numbers.addresses.iter().map(|address| (*address, self.symbols.resolve(*address))));
        processes.clear();
        let Some(owners) = &mut self.owners else { return };
        owners.want_processes(numbers.sockets.iter().copied());
        if is_idle {
            owners.search_processes();
        }
        let process = |inode: &u64| Some((*inode, owners.process_of_socket(*inode)?));
        processes.extend(numbers.sockets.iter().filter_map(process));
    }
}
