//! Whose packet it was: the container, pod or service that made the packet's socket, or that lives in its namespace; and the
//! process that holds the socket.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

impl Owner {
    /// The most exact name, for people: `shop/web-7d9f/nginx` for a container of a pod, else the container, else the unit,
    /// else the path of the cgroup. Absent if nothing is known.
    pub fn name(&self) -> Option<String> {
        match (&self.pod, &self.container) {
            (Some(pod), Some(container)) => Some(format!("{pod}/{container}")),
            (Some(name), None) | (None, Some(name)) => Some(name.to_string()),
            (None, None) => self.unit.as_deref().or(self.cgroup.as_deref()).map(str::to_owned),
        }
    }
}

/// A process that has the packet's socket open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Process {
    /// The process id, in the namespace of processes that droptrace sees.
    pub pid: u32,
    /// The name of the process, at most 15 bytes long (`TASK_COMM_LEN`), which the process itself can change; absent if
    /// the name is empty.
    pub comm: Option<String>,
}

impl fmt::Display for Process {
    /// `nginx[1234]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.comm.as_deref().unwrap_or_default(), self.pid)
    }
}
