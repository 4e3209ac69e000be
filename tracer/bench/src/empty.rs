//! A BPF program that does nothing, the reference of measurements.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::sys;

/// The instructions of the program: set register 0 to 0 (`BPF_ALU64 | BPF_MOV | BPF_K`), and return
/// (`BPF_JMP | BPF_EXIT`).
const INSTRUCTIONS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The program, attached to `kfree_skb` while this value exists.
///
/// A raw tracepoint runs a program through the same function as a tracepoint with typed arguments
/// (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`), so both cost the same.
pub(super) struct Empty {
    /// The benchmark finds the program among the open files of its process.
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Empty {
    /// Loads and attaches the program.
    pub(super) fn start() -> io::Result<Self> {
        let program = sys::load_raw_tracepoint(c"droptrace_empty", &INSTRUCTIONS)?;
        let link = sys::attach_raw_tracepoint(program.as_fd(), c"kfree_skb")?;
        Ok(Self { _program: program, _link: link })
    }
}
