//! Rights that are needed to attach are not needed to read.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What reading takes: `CAP_BPF` for maps (kernels before 5.19 ask it for every use of `bpf`), and `CAP_SYSLOG` to see
/// the addresses of symbols, which are read when the first drop comes.
const EBPF: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::SYSLOG);

/// What the drop monitor takes until the end: `CAP_NET_ADMIN` to stop it and to put its settings back, and `CAP_SYSLOG`
/// as above.
const NET_DM: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::SYSLOG);

/// What these sources take until the end.
pub fn needed(ebpf: bool, net_dm: bool) -> CapabilitySet {
    let of = |takes, needed| if takes { needed } else { CapabilitySet::empty() };
    of(ebpf, EBPF) | of(net_dm, NET_DM)
}

/// Gives up, for the calling thread and those that it starts, all capabilities but those that are `needed`.
///
/// There is no way back, nor by executing another program.
pub fn drop_unneeded(needed: CapabilitySet) -> io::Result<()> {
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
    fn only_what_reading_takes_is_left() {
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
