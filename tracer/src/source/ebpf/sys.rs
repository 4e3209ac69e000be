//! The door to the system calls that no library has: reading maps as bytes, in batches, and waiting for the kernel.
#![expect(unsafe_code, reason = "raw system calls; the only place in this source")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya_obj::generated::{bpf_attr, bpf_cmd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A map of the kernel program: keys and values are bytes whose lengths were fixed when it was made.
pub(super) struct MapReader {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl MapReader {
    /// `value_size` is what a look-up yields: for per-CPU maps the value, padded to 8 bytes, times the possible CPUs.
    pub(super) const fn new(fd: OwnedFd, key_size: usize, value_size: usize) -> Self {
        Self { fd, key_size, value_size }
    }

    /// Reads the value of `key` into `value`; false when there is none.
    pub(super) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        assert!(key.len() == self.key_size && value.len() == self.value_size, "sizes are the map's");
        let mut attr = zeroed_attr();
        // SAFETY: writing a union's `Copy` fields.
        let elem = unsafe { &mut attr.__bindgen_anon_2 };
        elem.map_fd = self.raw_fd();
        elem.key = key.as_ptr() as u64;
        elem.__bindgen_anon_1.value = value.as_mut_ptr() as u64;
        // SAFETY: key and value have the map's sizes, asserted above.
        match unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr) } {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Calls `visit` with the bytes of each element.
    ///
    /// Elements that are added meanwhile may be missed. Fails as `BPF_MAP_LOOKUP_BATCH` does (since Linux 5.6).
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        // A batch holds whole buckets, so this is far more than any bucket of the hash has; doubled should it not be.
        let mut batch = 512_u32;
        let mut buffers = Buffers::new(self, batch);
        let mut position = None;
        loop {
            match self.lookup_batch(position, batch, &mut buffers) {
                Ok(read) => {
                    buffers.visit(self, read.elements, &mut visit);
                    if read.is_last {
                        return Ok(());
                    }
                    position = Some(read.position);
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && batch < 1 << 20 => {
                    batch *= 2;
                    buffers = Buffers::new(self, batch);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn lookup_batch(&self, position: Option<u32>, count: u32, buffers: &mut Buffers) -> io::Result<Batch> {
        let (mut next, previous) = (0_u32, position.unwrap_or_default());
        let mut attr = zeroed_attr();
        // SAFETY: writing a union's `Copy` field.
        let batch = unsafe { &mut attr.batch };
        batch.map_fd = self.raw_fd();
        batch.in_batch = if position.is_some() { &raw const previous as u64 } else { 0 };
        batch.out_batch = &raw mut next as u64;
        batch.keys = buffers.keys.as_mut_ptr() as u64;
        batch.values = buffers.values.as_mut_ptr() as u64;
        batch.count = count;
        // SAFETY: the buffers have room for `count` keys and values of the map's sizes; a position is a u32
        // (`__htab_map_lookup_and_delete_batch`, kernel/bpf/hashtab.c).
        let result = unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) };
        let is_last = match result {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel wrote the count of elements.
        let elements = unsafe { attr.batch.count }.min(count);
        Ok(Batch { elements, position: next, is_last })
    }

    fn raw_fd(&self) -> u32 {
        self.fd.as_raw_fd().cast_unsigned()
    }
}

struct Batch {
    elements: u32,
    position: u32,
    is_last: bool,
}

struct Buffers {
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Buffers {
    fn new(map: &MapReader, count: u32) -> Self {
        let count = count as usize;
        Self { keys: vec![0; count * map.key_size], values: vec![0; count * map.value_size] }
    }

    fn visit(&self, map: &MapReader, elements: u32, visit: &mut impl FnMut(&[u8], &[u8])) {
        let (keys, values) = (self.keys.chunks_exact(map.key_size), self.values.chunks_exact(map.value_size));
        keys.zip(values).take(elements as usize).for_each(|(key, value)| visit(key, value));
    }
}

/// Waits until every run of a program that had begun before the call has ended (`synchronize_rcu`).
///
/// A detached program may still be running on another CPU; after this its counts are final.
pub(super) fn wait_for_running_programs() -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the runtime tell when `fd` can be read. Must be called within a tokio runtime.
pub(super) fn watch<T: AsFd + AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: what this source watches owns its descriptor, of which it has only one, until it is dropped, and gives
    // no mutable access by which it could be exchanged.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

fn zeroed_attr() -> bpf_attr {
    // SAFETY: all fields are numbers.
    unsafe { std::mem::zeroed() }
}

/// # Safety
/// Pointers in `attr` must be valid for what `command` reads and writes.
unsafe fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<()> {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<bpf_attr>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
