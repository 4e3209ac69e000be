//! System calls that no library has: maps as bytes and in batches, programs that are loaded, attached and run by hand,
//! and grace periods of the kernel.
#![expect(unsafe_code, reason = "raw system calls; the only ones in this source")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_map_type, bpf_prog_type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A map of the kernel program: keys and values are bytes whose lengths were fixed when it was made.
pub(super) struct RawMap {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl RawMap {
    /// `value_size` is the size of a look-up's result: for per-CPU maps the value, padded to 8 bytes, times the
    /// possible CPUs.
    pub(super) const fn new(fd: OwnedFd, key_size: usize, value_size: usize) -> Self {
        Self { fd, key_size, value_size }
    }

    /// The size of a look-up's result.
    pub(super) const fn value_size(&self) -> usize {
        self.value_size
    }

    /// Reads the value of `key` into `value`; false when there is none.
    pub(super) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        assert!(key.len() == self.key_size && value.len() == self.value_size, "sizes are the map's");
        let mut attr = self.element(key, value.as_mut_ptr());
        // SAFETY: key and value have the map's sizes, asserted above.
        match unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr) } {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the value of `key`, of all CPUs in per-CPU maps.
    pub(super) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert!(key.len() == self.key_size && value.len() == self.value_size, "sizes are the map's");
        let mut attr = self.element(key, value.as_ptr().cast_mut());
        // SAFETY: key and value have the map's sizes, asserted above; the kernel only reads them.
        unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    fn element(&self, key: &[u8], value: *mut u8) -> bpf_attr {
        let mut attr = zeroed_attr();
        // SAFETY: writing a union's `Copy` fields.
        let elem = unsafe { &mut attr.__bindgen_anon_2 };
        elem.map_fd = self.raw_fd();
        elem.key = key.as_ptr() as u64;
        elem.__bindgen_anon_1.value = value as u64;
        attr
    }

    /// Takes all elements out of a hash that no program uses any more, and shows their bytes to `visit`.
    ///
    /// Fails as `BPF_MAP_LOOKUP_AND_DELETE_BATCH` does (since Linux 5.6).
    pub(super) fn drain(&self, visit: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.batches(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH, visit)
    }

    /// Shows the bytes of all elements of a hash to `visit`; of one that is in use, as they were at some time while it ran.
    ///
    /// Fails as `BPF_MAP_LOOKUP_BATCH` does (since Linux 5.6).
    pub(super) fn each(&self, visit: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.batches(bpf_cmd::BPF_MAP_LOOKUP_BATCH, visit)
    }

    fn batches(&self, command: bpf_cmd, mut visit: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        // A batch holds whole buckets, so this number is far more than any bucket of the hash has. It is doubled should
        // it be too small.
        let mut batch = 256_u32;
        let mut buffers = Buffers::new(self, batch);
        let mut position = None;
        loop {
            match self.batch(command, position, batch, &mut buffers) {
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

    fn batch(&self, command: bpf_cmd, position: Option<u32>, count: u32, buffers: &mut Buffers) -> io::Result<Batch> {
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
        let result = unsafe { bpf(command, &mut attr) };
        let is_last = match result {
            Ok(_) => false,
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
    fn new(map: &RawMap, count: u32) -> Self {
        let count = count as usize;
        Self { keys: vec![0; count * map.key_size], values: vec![0; count * map.value_size] }
    }

    fn visit(&self, map: &RawMap, elements: u32, visit: &mut impl FnMut(&[u8], &[u8])) {
        let (keys, values) = (self.keys.chunks_exact(map.key_size), self.values.chunks_exact(map.value_size));
        keys.zip(values).take(elements as usize).for_each(|(key, value)| visit(key, value));
    }
}

/// Waits until every run of a program that had begun has ended.
///
/// The kernel waits before an update of a map of maps returns (`maybe_wait_bpf_programs`, `kernel/bpf/syscall.c`:
/// `synchronize_rcu`), also on `PREEMPT_RT` and with `nohz_full` CPUs, where `membarrier` fails. The maps have no other
/// use.
pub(super) struct GracePeriod {
    inner: OwnedFd,
    outer: OwnedFd,
}

impl GracePeriod {
    pub(super) fn new() -> io::Result<Self> {
        let inner = create_map(bpf_map_type::BPF_MAP_TYPE_ARRAY, None)?;
        let outer = create_map(bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS, Some(inner.as_fd()))?;
        Ok(Self { inner, outer })
    }

    /// Waits for some milliseconds.
    pub(super) fn wait(&self) -> io::Result<()> {
        let (key, value) = (0_u32, self.inner.as_raw_fd());
        let mut attr = zeroed_attr();
        // SAFETY: writing a union's `Copy` fields.
        let elem = unsafe { &mut attr.__bindgen_anon_2 };
        elem.map_fd = self.outer.as_raw_fd().cast_unsigned();
        elem.key = &raw const key as u64;
        elem.__bindgen_anon_1.value = &raw const value as u64;
        // SAFETY: key and value are of four bytes, as both maps have them.
        unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }
}

/// A map of one element of four bytes.
fn create_map(kind: bpf_map_type, inner: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: writing a union's `Copy` fields.
    let map = unsafe { &mut attr.__bindgen_anon_1 };
    map.map_type = kind as u32;
    (map.key_size, map.value_size, map.max_entries) = (4, 4, 1);
    map.inner_map_fd = inner.map_or(0, |inner| inner.as_raw_fd().cast_unsigned());
    // SAFETY: no pointers.
    unsafe { new_fd(bpf_cmd::BPF_MAP_CREATE, &mut attr) }
}

/// A program for the kernel, of one of the types that this source uses.
pub(super) struct NewProgram<'a> {
    pub(super) name: &'a CStr,
    pub(super) license: &'a CStr,
    pub(super) instructions: &'a [bpf_insn],
    /// For a program whose arguments have types, where it is attached, and the BTF id of that: of a tracepoint's typedef, or of
    /// a function. Absent for a raw tracepoint.
    pub(super) typed: Option<(bpf_attach_type, u32)>,
}

/// Attempts to load a program. The verifier gives up with `EAGAIN` when a signal comes (`do_check`,
/// `kernel/bpf/verifier.c`), which says nothing about the program.
const LOAD_ATTEMPTS: u32 = 1_000;

/// Loads a program. The verifier's log goes to `log`, and is cut off at its end.
pub(super) fn load_program(new: &NewProgram<'_>, log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: writing a union's `Copy` fields.
    let program = unsafe { &mut attr.__bindgen_anon_3 };
    program.prog_type = match new.typed {
        None => bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
        Some(_) => bpf_prog_type::BPF_PROG_TYPE_TRACING,
    } as u32;
    if let Some((attach_type, id)) = new.typed {
        program.expected_attach_type = attach_type as u32;
        program.attach_btf_id = id;
    }
    // The last byte stays 0.
    let letters = program.prog_name.len() - 1;
    for (to, from) in program.prog_name[..letters].iter_mut().zip(new.name.to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    program.insn_cnt = u32::try_from(new.instructions.len()).map_err(io::Error::other)?;
    program.insns = new.instructions.as_ptr() as u64;
    program.license = new.license.as_ptr() as u64;
    if let Some(log) = log {
        program.log_level = 1;
        program.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
        program.log_buf = log.as_mut_ptr() as u64;
    }
    let mut attempts = LOAD_ATTEMPTS;
    loop {
        // SAFETY: all pointers are valid for the call, the log's for the size given.
        match unsafe { new_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr) } {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts > 1 => attempts -= 1,
            result => return result,
        }
    }
}

/// Attaches a program to the raw tracepoint with this name, or to what it was loaded for, until the link is closed.
pub(super) fn attach_program(program: BorrowedFd<'_>, tracepoint: Option<&CStr>) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: writing a union's `Copy` fields.
    let link = unsafe { &mut attr.raw_tracepoint };
    link.name = tracepoint.map_or(0, |name| name.as_ptr() as u64);
    link.prog_fd = program.as_raw_fd().cast_unsigned();
    // SAFETY: the name is valid for the call.
    unsafe { new_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr) }
}

/// Freezes a map: only programs can change it from now on.
pub(super) fn freeze_map(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd().cast_unsigned();
    // SAFETY: no pointers.
    unsafe { bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attr) }.map(drop)
}

/// Runs a raw tracepoint program once, in this process, with one argument (since Linux 5.10).
pub(super) fn run_program(program: BorrowedFd<'_>, argument: u64) -> io::Result<()> {
    let mut attr = zeroed_attr();
    // SAFETY: writing a union's `Copy` fields.
    let test = unsafe { &mut attr.test };
    test.prog_fd = program.as_raw_fd().cast_unsigned();
    test.ctx_in = &raw const argument as u64;
    test.ctx_size_in = 8;
    // SAFETY: the argument is valid for the call.
    unsafe { bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr) }.map(drop)
}

/// Registers `fd` with the runtime, to wait until it can be read. The caller must be within a tokio runtime.
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
/// As [`bpf`]; `command` must answer with a new descriptor.
unsafe fn new_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's; nobody else has the new descriptor.
    unsafe {
        let fd = bpf(command, attr)?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?))
    }
}

/// # Safety
/// Pointers in `attr` must be valid for what `command` reads and writes.
unsafe fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
