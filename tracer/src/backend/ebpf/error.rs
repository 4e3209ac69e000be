//! Errors of the eBPF source.

use std::io;

use thiserror::Error;

use super::filter::FilterRefused;
use crate::domain::unavailable::Unavailable;
use crate::kernel::btf::BtfError;
use crate::kernel::support::Facts;

/// Reason why the eBPF source cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel's types could not be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The built object is not valid: it does not fit this binary.
    #[error("the kernel program's object cannot be read")]
    Object {
        /// The error of the object reader.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The maps could not be created.
    #[error("cannot create the kernel program's maps")]
    Load {
        /// The error that aya returned.
        source: Box<aya::maps::MapError>,
    },
    /// The verifier or a check of capabilities refused a program.
    #[error("the kernel refused the program {what} (its verifier's log is shown with -vv)")]
    Refused {
        /// The refused program.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel program cannot apply the filter.
    #[error(transparent)]
    Filter(#[from] FilterRefused),
    /// No way of reading the kernel's memory is both allowed and safe.
    #[error(
        "this kernel's verifier trusts pointers and has no bpf_rdonly_cast, so a program attached as tp_btf cannot read \
         memory safely"
    )]
    Unreadable,
    /// Retransmissions were asked for.
    #[error("retransmissions are not available: {0}")]
    Retransmissions(&'static str),
    /// The kernel loaded a program but did not attach it.
    #[error("cannot attach the program {what} to {tracepoint}")]
    Attach {
        /// The program.
        what: &'static str,
        /// The tracepoint or function that the program should be attached to.
        tracepoint: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The built object lacks a part; it does not fit this binary.
    #[error("the kernel program's object has no {what}")]
    Missing {
        /// Name of the map or program.
        what: &'static str,
    },
    /// A map does not have the expected type or size.
    #[error("cannot open the map {what}")]
    Map {
        /// Name of the map.
        what: &'static str,
        /// The error that aya returned.
        source: Box<aya::maps::MapError>,
    },
    /// A loaded program or map could not be read.
    #[error("cannot read {what}")]
    Read {
        /// The program or map.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// The number of the kernel's error; absent if the error does not come from the kernel.
    pub fn errno(&self) -> Option<i32> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
                return Some(errno);
            }
            cause = error.source();
        }
        None
    }

    /// The cause, with the kernel's answer and the facts that explain it, and the remedies.
    pub fn explained(&self, facts: &Facts) -> Unavailable {
        let mut lines = vec![Unavailable::of(self).cause];
        let mut remedies = Vec::new();
        for obstacle in facts.explain_refusal(self.errno()) {
            let Unavailable { cause, remedy } = Unavailable::from(&obstacle);
            lines.push(cause);
            remedies.extend(remedy);
        }
        Unavailable { cause: lines.join("\n"), remedy: (!remedies.is_empty()).then(|| remedies.join("\n")) }
    }
}
