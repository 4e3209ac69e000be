//! Why the source cannot work.

use std::io;

use thiserror::Error;

use crate::kernel::btf::BtfError;
use crate::kernel::support::Facts;

/// Why the source cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel's types could not be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The built object makes no sense: it does not fit this binary.
    #[error("the kernel program's object cannot be read")]
    Object {
        /// What the reader of objects says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The maps could not be created.
    #[error("cannot create the kernel program's maps")]
    Load {
        /// What aya says.
        source: Box<aya::maps::MapError>,
    },
    /// The verifier or a check of capabilities refused a program.
    #[error("the kernel refused the program {what} (its verifier's log is shown with -vv)")]
    Refused {
        /// Which program.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// No way to read the kernel's memory is both allowed and safe.
    #[error(
        "this kernel's verifier trusts pointers and has no bpf_rdonly_cast, so a program attached as tp_btf cannot read \
         memory safely"
    )]
    Unreadable,
    /// A program was taken but could not be attached.
    #[error("cannot attach the program {what} to the tracepoint {tracepoint}")]
    Attach {
        /// Which program.
        what: &'static str,
        /// Where to.
        tracepoint: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The built object lacks a part; it does not fit this binary.
    #[error("the kernel program's object has no {what}")]
    Missing {
        /// Name of the map or program.
        what: &'static str,
    },
    /// A map is not what it should be.
    #[error("cannot open the map {what}")]
    Map {
        /// Name of the map.
        what: &'static str,
        /// What aya says.
        source: Box<aya::maps::MapError>,
    },
    /// Something that was loaded could not be read.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// The number of the error that the kernel answered with, if it was the kernel that refused.
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

    /// What went wrong, and what can be done about it where that is known.
    pub fn explained(self, facts: &Facts) -> anyhow::Error {
        let obstacles = facts.explain_refusal(self.errno());
        let error = anyhow::Error::from(self);
        if obstacles.is_empty() {
            return error;
        }
        let advice: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{error:#}\n{}", advice.join("\n"))
    }
}
