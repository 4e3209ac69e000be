//! Reasons why the drop monitor is not available, and their remedies.

use thiserror::Error;

use crate::explain::MalformedData;
use crate::netlink;

/// Reason why the source cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// An error of netlink, such as a family that does not exist here.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// CONFIG, START and STOP are for administrators of the host.
    #[error(
        "the drop monitor may not be controlled by this process: that requires CAP_NET_ADMIN in the first user namespace"
    )]
    MayNotControl {
        /// The refused request.
        source: netlink::Error,
    },
    /// Most processes may not join the group since Linux 6.7, and in later releases of the series before it.
    #[error(
        "this process may not receive the drop monitor's alerts: on this kernel that requires CAP_SYS_ADMIN in the first \
         user namespace"
    )]
    NotPermitted {
        /// The refused request.
        source: netlink::Error,
    },
    /// The family exists, but has too few commands.
    #[error("this kernel's drop monitor cannot be configured: Linux 5.4 and later can")]
    TooOld {
        /// The refused request.
        source: netlink::Error,
    },
    /// A subscriber of the old module does not receive alerts of the new one.
    #[error(
        "the drop monitor's module was loaded again, and this process has given up the capability to receive its \
         alerts: start droptrace again"
    )]
    Reloaded {
        /// Reason why the socket cannot join the group.
        source: Box<Error>,
    },
    /// Another process runs the monitor, in a mode that does not report single packets.
    #[error(
        "another process runs the drop monitor in {} mode, which droptrace leaves as it is, so that {} mode is not \
         available",
        .found, .wanted
    )]
    OthersMode {
        /// The mode in which the monitor runs.
        found: &'static str,
        /// The mode that the caller asked for.
        wanted: &'static str,
    },
    /// The built-in explanations, which say which reasons are usual, cannot be read.
    #[error("the built-in explanations of drop reasons cannot be read, which is a fault of droptrace")]
    Explanations(#[source] MalformedData),
}

impl Error {
    /// What the user can do; absent where no remedy is known.
    pub(crate) const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::MayNotControl { .. } | Self::NotPermitted { .. } => {
                Some("run as root, outside of a rootless container")
            }
            Self::OthersMode { .. } => Some("stop that process, or use its mode"),
            Self::Reloaded { .. } | Self::TooOld { .. } | Self::Netlink(_) | Self::Explanations(_) => None,
        }
    }

    /// The meaning of an errno for a request to control the monitor.
    pub(super) fn of_control(error: netlink::Error) -> Self {
        match error.errno() {
            Some(libc::EPERM) => Self::MayNotControl { source: error },
            Some(libc::EOPNOTSUPP) => Self::TooOld { source: error },
            _ => Self::Netlink(error),
        }
    }

    /// The meaning of an errno for joining the group.
    pub(super) fn of_joining(error: netlink::Error) -> Self {
        match error.errno() {
            Some(libc::EPERM) => Self::NotPermitted { source: error },
            _ => Self::Netlink(error),
        }
    }
}
