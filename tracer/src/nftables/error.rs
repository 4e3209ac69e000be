//! Why packets cannot be traced.

use std::io;

use crate::netlink::Error;

/// The reason why the table could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NftablesError {
    /// Another process traces in this network namespace.
    #[error(
        "another droptrace traces packets in this network namespace: it has the nftables table `{family} {table}`; wait for \
         its end"
    )]
    AlreadyTracing {
        /// The family of the table.
        family: &'static str,
        /// The name of the table.
        table: &'static str,
    },
    /// Somebody else has a table of the name of droptrace's own.
    #[error(
        "the nftables table `{family} {table}` in this network namespace has the name of droptrace's own table, but other \
         chains or rules: droptrace does not touch it; if nobody needs it, delete it with `nft delete table {family} {table}`"
    )]
    ForeignTable {
        /// The family of the table.
        family: &'static str,
        /// The name of the table.
        table: &'static str,
    },
    /// The lock of kernels before 5.12 could not be taken.
    #[error("cannot take the lock of the table in this network namespace")]
    Lock {
        /// The system's error.
        source: io::Error,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] Error),
}

impl NftablesError {
    /// The number of the kernel's error, if it answered with one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Netlink(error) => error.errno(),
            _ => None,
        }
    }
}
