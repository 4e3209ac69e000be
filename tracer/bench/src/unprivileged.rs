//! Lets the benchmark provoke drops without capabilities, in namespaces of its own.

use rustix::thread::{CapabilitySet, capabilities};

use super::sys;

/// The capabilities with which the network namespace for the load is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchCapabilities {
    /// The capabilities of the process itself, which may be none.
    Own,
    /// The capabilities of a user namespace that was made for the benchmark. From there, the kernel loads no BPF
    /// program, and the drop monitor cannot run.
    UserNamespace,
}

/// Makes a user namespace for the process unless it has `CAP_SYS_ADMIN`. Call this while the process has one thread. If
/// no user namespace can be made, the error of making the network namespace names the missing capability.
pub fn acquire_capabilities() -> BenchCapabilities {
    let may_unshare = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    if !may_unshare && sys::unshare_user().is_ok() { BenchCapabilities::UserNamespace } else { BenchCapabilities::Own }
}
