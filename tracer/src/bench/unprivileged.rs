//! What the benchmark can do without rights: provoke drops in namespaces of its own.

use rustix::thread::{CapabilitySet, capabilities};

use super::sys;

/// Where the load's network namespace can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// From where the process is, or nowhere.
    Own,
    /// From a user namespace that was made for it. No kernel program can be loaded from there, and the drop monitor
    /// cannot be run.
    UserNamespace,
}

/// Makes a user namespace for the process unless it has `CAP_SYS_ADMIN`. To be called while it has one thread. Where
/// there may be none, making the network namespace tells what is missing.
pub fn take_rights() -> Rights {
    let may_unshare = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    if !may_unshare && sys::unshare_user().is_ok() { Rights::UserNamespace } else { Rights::Own }
}
