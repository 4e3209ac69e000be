//! Whose packet it was: the container, pod or service that made the packet's socket, or that lives in its namespace.

use std::sync::Arc;

/// The names of a control group and of what runs in it; each absent where it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Path below the mount of the cgroup2 hierarchy.
    pub cgroup: Option<Arc<str>>,
    /// The container: its name, or the first 12 digits of its id.
    pub container: Option<Arc<str>>,
    /// The pod: `namespace/name`, or its UID.
    pub pod: Option<Arc<str>>,
    /// The innermost systemd unit.
    pub unit: Option<Arc<str>>,
}
