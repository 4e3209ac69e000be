//! Why the source cannot work.

use std::io;

use aya::EbpfError;
use thiserror::Error;

use super::Mode;
use crate::kernel::btf::BtfError;
use crate::kernel::support::Facts;

/// Why the source cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel's types could not be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// As [`Error::Btf`], when attaching.
    #[error("cannot read the kernel's types from /sys/kernel/btf/vmlinux")]
    AyaBtf {
        /// What aya says.
        source: Box<aya::BtfError>,
    },
    /// The maps could not be created.
    #[error("cannot create the kernel program's maps")]
    Load {
        /// What aya says.
        source: Box<EbpfError>,
    },
    /// The verifier or a check of capabilities refused the program.
    #[error("the kernel refused the program for {} (its verifier's log is shown with -vv)", .mode.name())]
    Refused {
        /// Which program.
        mode: Mode,
        /// What the kernel answered.
        source: io::Error,
    },
    /// No way to read the kernel's memory is both allowed and safe.
    #[error(
        "this kernel refuses bpf_probe_read_kernel (lockdown=confidentiality) and has no bpf_rdonly_cast, so its \
         memory cannot be read safely"
    )]
    Unreadable,
    /// The program was taken but could not be attached.
    #[error("cannot attach to the tracepoint kfree_skb as {}", .mode.name())]
    Attach {
        /// Which program.
        mode: Mode,
        /// What aya says.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program could not be detached.
    #[error("cannot detach from the tracepoint {what}")]
    Detach {
        /// The tracepoint.
        what: &'static str,
        /// What aya says.
        source: Box<aya::programs::ProgramError>,
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
