//! The process needs fewer capabilities to read drops than to attach its programs.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// The capabilities that reading needs: `CAP_BPF` for maps (kernels before 5.19 require it for every use of `bpf`), and
/// `CAP_SYSLOG` to see the addresses of symbols, which are read at the first drop.
pub(crate) const EBPF: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::SYSLOG);

/// The capabilities that the drop monitor needs until the end: `CAP_NET_ADMIN` to stop it and to restore its settings,
/// and `CAP_SYSLOG` for the same reason as in [`EBPF`].
pub(crate) const NET_DM: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::SYSLOG);

/// The capability with which the path of a control group is found by its number, also below folders that only their
/// owner may read (`open_by_handle_at`).
pub(crate) const OWNERS: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// The capabilities with which the open files of all processes are read (`/proc/PID/fd`): the folder belongs to the user of the
/// process, and its links may be read by who may trace the process (`proc_fd_access_allowed`, `fs/proc/base.c`).
pub(crate) const PROCESSES: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYS_PTRACE);

/// The capabilities of the thread that reads the kernel's counters: `CAP_SYS_PTRACE` recognises the network namespaces of
/// all processes (`/proc/PID/ns/net`; `proc_ns_readlink`, `fs/proc/namespaces.c`), `CAP_SYS_ADMIN` enters those without a
/// process and asks for the listening sockets of each (`netns_install`, `net/core/net_namespace.c`), and with
/// `CAP_DAC_READ_SEARCH` the processes of these sockets are found. No other thread has them.
pub(crate) const COUNTERS: CapabilitySet = PROCESSES.union(CapabilitySet::SYS_ADMIN);

/// The capabilities of those uses that there are.
pub(crate) fn needed<const N: usize>(uses: [(bool, CapabilitySet); N]) -> CapabilitySet {
    let taken = uses.into_iter().filter(|(is_taken, _)| *is_taken);
    taken.fold(CapabilitySet::empty(), |all, (_, needed)| all | needed)
}

/// Gives up all capabilities except `needed`, for the calling thread and the threads that it starts.
///
/// The thread cannot regain them, not even by executing another program.
pub(crate) fn drop_unneeded(needed: CapabilitySet) -> io::Result<()> {
    set_no_new_privs(true)?;
    let held = capabilities(None)?;
    let kept = held.permitted & needed;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_capabilities_for_reading_are_left() {
        std::thread::spawn(|| {
            drop_unneeded(EBPF).unwrap();
            let left = capabilities(None).unwrap();
            assert!(EBPF.contains(left.effective | left.permitted), "{left:?}");
            assert!(left.inheritable.is_empty());
        })
        .join()
        .unwrap();
    }
}
