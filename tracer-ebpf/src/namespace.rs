//! Finds the network namespace of an open file.
//!
//! Names of namespaces are files on nsfs, and their inode numbers are reused as soon as a namespace is gone. Userspace
//! opens such a file and runs this program in its own context (`BPF_PROG_TEST_RUN`); the program looks the descriptor
//! up in the caller's table and reads the cookie; then userspace closes the file. Entering a namespace would need a
//! capability; this does not.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_ktime_get_ns};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_common::{ABSENT, NamespaceAnswer};

use crate::account::ticks;
use crate::config::{Bytes, at, config, kernel_space};
use crate::maps::NAMESPACE;
use crate::memory::{Memory, Typed};

/// Never attached. Its argument is a file descriptor of an nsfs file of a network namespace.
#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn namespace_of_file(ctx: RawTracePointContext) -> i32 {
    let Some(answer) = NAMESPACE.get_ptr_mut(0) else { return 0 };
    let mut found = find(ctx.arg::<u64>(0));
    found.ticks = ticks();
    // SAFETY: no arguments; the element has room for the answer.
    unsafe {
        found.now_ns = bpf_ktime_get_ns();
        *answer = found;
    }
    0
}

#[inline(always)]
fn find(descriptor: u64) -> NamespaceAnswer {
    const NOTHING: NamespaceAnswer = NamespaceAnswer { cookie: 0, ops: 0, inum: 0, found: 0, now_ns: 0, ticks: 0 };
    // SAFETY: only numbers are read; a value that cannot be read is 0, and each further step then yields 0.
    unsafe {
        let task = bpf_get_current_task();
        let files: u64 = Typed::chase(task, at!(task_files));
        let table: u64 = Typed::chase(files, at!(files_fdt));
        let size: u32 = Typed::chase(table, at!(fdt_max_fds));
        if descriptor >= u64::from(size) {
            return NOTHING;
        }
        let entries: u64 = Typed::chase(table, at!(fdt_fd));
        let file: u64 = Typed::chase(entries.wrapping_add(descriptor * size_of::<u64>() as u64), Bytes::<0>);
        let inode: u64 = Typed::chase(file, at!(file_inode));
        let common: u64 = Typed::chase(inode, at!(inode_private));
        if common < kernel_space() || config!(offsets.net_ns) == ABSENT {
            return NOTHING;
        }
        let net = common.wrapping_sub(u64::from(config!(offsets.net_ns)));
        NamespaceAnswer {
            cookie: Typed::chase(net, at!(net_cookie)),
            ops: Typed::chase(net, at!(net_ops)),
            inum: Typed::chase(net, at!(net_inum)),
            found: 1,
            ..NOTHING
        }
    }
}
