//! What the running kernel can tell of drops, asked of the kernel itself.

use std::fs;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use anyhow::{Context, Result};

use crate::bpf;
use crate::trials::Unable;

/// What the kernel tells of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has this reason.
    Reason(&'static str),
    /// It gives no reasons (before 5.17): droptrace shows none.
    NoReasons,
}

impl Known {
    /// The reason that droptrace is to show.
    pub fn shown(self) -> Option<&'static str> {
        match self {
            Self::Reason(reason) => Some(reason),
            Self::NoReasons => None,
        }
    }
}

/// Whether the kernel knows a reason, which is given without prefix.
///
/// # Errors
/// [`Unable`] when it gives reasons, but not this one, or has no type information.
pub fn reason(reason: &'static str) -> Result<Known> {
    if !names("SKB_DROP_REASON_NOT_SPECIFIED")? {
        return Ok(Known::NoReasons);
    }
    if !names(&format!("SKB_DROP_REASON_{reason}"))? {
        return Err(Unable(format!("this kernel has no reason {reason}")).into());
    }
    Ok(Known::Reason(reason))
}

/// Whether the kernel's type information has a name.
pub fn names(name: &str) -> Result<bool> {
    static TYPES: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let types = TYPES.get_or_init(|| fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string()));
    let types = types.as_ref().map_err(|error| Unable(format!("reading the kernel's type information: {error}")))?;
    let name = format!("\0{name}\0");
    Ok(types.windows(name.len()).any(|window| window == name.as_bytes()))
}

/// Whether the kernel tells how often a program did not run because it was running already (5.12 and later).
pub fn tells_missed_runs() -> Result<bool> {
    let program = bpf::socket_refuse_all().context("loading a BPF program")?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
    Ok(info.contains("recursion_misses:"))
}

/// Whether root may not read the kernel's memory.
pub fn is_confidential() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|state| state.contains("[confidentiality]"))
}
