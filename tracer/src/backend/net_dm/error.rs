//! Why the drop monitor cannot be heard, and what can be done about it.

use thiserror::Error;

use crate::netlink;

/// Why the source cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// As netlink tells it: among others that there is no such family here.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// CONFIG, START and STOP are for administrators of the host.
    #[error(
        "the drop monitor may not be controlled by this process: that takes CAP_NET_ADMIN in the first user namespace \
         (run as root, outside of a rootless container)"
    )]
    MayNotControl {
        /// What was refused.
        source: netlink::Error,
    },
    /// The group is closed to most since Linux 6.7, and in later releases of the series before it.
    #[error(
        "the drop monitor may not be listened to by this process: on this kernel that takes CAP_SYS_ADMIN in the first \
         user namespace"
    )]
    MayNotListen {
        /// What was refused.
        source: netlink::Error,
    },
    /// The family is there, yet knows too few commands.
    #[error("this kernel's drop monitor cannot be configured: Linux 5.4 and later can")]
    TooOld {
        /// What was refused.
        source: netlink::Error,
    },
    /// Whoever listened to the old module does not hear the new one.
    #[error(
        "the drop monitor's module was loaded anew, and this process has given up the right to listen to it: start \
         droptrace again"
    )]
    Reloaded {
        /// Why it cannot listen.
        source: Box<Error>,
    },
    /// Only somebody else's monitoring can be heard, and it does not tell single packets.
    #[error(
        "somebody else runs the drop monitor in {} mode, which droptrace leaves as it is: {} mode is not to be had \
         before they stop",
        .found, .wanted
    )]
    OthersMode {
        /// The mode that it runs in.
        found: &'static str,
        /// The mode that was asked for.
        wanted: &'static str,
    },
}

impl Error {
    /// What an errno means for a request to control the monitor.
    pub(super) fn of_control(error: netlink::Error) -> Self {
        match error.errno() {
            Some(libc::EPERM) => Self::MayNotControl { source: error },
            Some(libc::EOPNOTSUPP) => Self::TooOld { source: error },
            _ => Self::Netlink(error),
        }
    }

    /// What an errno means for joining the group.
    pub(super) fn of_joining(error: netlink::Error) -> Self {
        match error.errno() {
            Some(libc::EPERM) => Self::MayNotListen { source: error },
            _ => Self::Netlink(error),
        }
    }
}
