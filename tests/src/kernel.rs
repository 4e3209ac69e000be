//! Facts about drops that the running kernel can report, as the kernel itself shows them.

use std::collections::BTreeSet;
use std::fs;
use std::sync::OnceLock;

use anyhow::{Result, ensure};
use memchr::memmem;
use tracer::kernel::btf::KernelBtf;

use crate::trials::Unable;

/// The kernel's knowledge of a drop reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The kernel has this reason.
    Reason(&'static str),
    /// The kernel gives no reasons (before 5.17), and droptrace shows none.
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

/// Whether the kernel knows a reason, which is given without prefix, or as one of `enum qdisc_drop_reason`, with it.
///
/// # Errors
/// [`Unable`] when it gives reasons, but not this one, or has no type information.
pub fn reason(reason: &'static str) -> Result<Known> {
    static REASONS: OnceLock<BTreeSet<String>> = OnceLock::new();
    let types = types()?;
    let reasons = REASONS.get_or_init(|| reasons_in(types));
    if reasons.is_empty() {
        return Ok(Known::NoReasons);
    }
    let is_of_qdisc = reason.starts_with("QDISC_DROP_") && has_name(reason)?;
    if !is_of_qdisc && !reasons.contains(reason) {
        return Err(Unable(format!("this kernel has no reason {reason}")).into());
    }
    Ok(Known::Reason(reason))
}

/// The first of these reasons that the kernel knows.
///
/// # Errors
/// [`Unable`] when it knows none of them.
pub fn first_reason(reasons: &[&'static str]) -> Result<&'static str> {
    let found = reasons.iter().find(|name| reason(name).is_ok());
    Ok(found.copied().ok_or_else(|| Unable(format!("this kernel has none of the reasons {}", reasons.join(", "))))?)
}

/// Whether a type, field or constant of the kernel has this name.
pub fn has_name(name: &str) -> Result<bool> {
    Ok(memmem::find(types()?, format!("\0{name}\0").as_bytes()).is_some())
}

/// The kernel's type information.
fn types() -> Result<&'static [u8]> {
    static TYPES: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let types = TYPES.get_or_init(|| fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string()));
    Ok(types.as_ref().map_err(|error| Unable(format!("reading the kernel's type information: {error}")))?)
}

/// Checks that TCP reports the segments that it drops.
///
/// # Errors
///
/// [`Unable`] where TCP frees a segment that does not fit its connection without calling the tracepoint: before TCP
/// gave reasons (`tcp_drop` called `__kfree_skb`, `net/ipv4/tcp_input.c`).
pub fn reports_tcp_drops() -> Result<()> {
    ensure!(
        !matches!(reason("NOT_SPECIFIED")?, Known::NoReasons),
        Unable("this kernel's TCP drops in silence".to_owned())
    );
    Ok(())
}

/// The reasons among the names of the kernel's types, each of which ends with a zero.
fn reasons_in(types: &[u8]) -> BTreeSet<String> {
    const PREFIX: &[u8] = b"\0SKB_DROP_REASON_";
    let name = |start: usize| {
        let rest = &types[start + PREFIX.len()..];
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok().map(str::to_owned)
    };
    memmem::find_iter(types, PREFIX).filter_map(name).collect()
}

/// Whether the tracepoint has the socket that was to receive the packet (6.11 and later).
pub fn reports_socket() -> Result<bool> {
    static REPORTS: OnceLock<Result<bool, String>> = OnceLock::new();
    let ask = || KernelBtf::load()?.tracepoint().map(|tracepoint| tracepoint.has_rx_sk);
    let reports = REPORTS.get_or_init(|| ask().map_err(|error| error.to_string()));
    reports.clone().map_err(anyhow::Error::msg)
}

/// Whether the kernel reports the socket that has no room for a packet of UDP.
pub fn reports_udp_receiver() -> Result<bool> {
    Ok(reports_socket()? || KernelBtf::load()?.udp_failure().is_some())
}

/// Whether the kernel reports each drop at `kfree_skb` itself: on arm64, where the compiler split off the part that calls the
/// tracepoint.
pub fn has_split_kfree_skb() -> bool {
    static SPLIT: OnceLock<bool> = OnceLock::new();
    let is_part = |line: &str| line.split_whitespace().nth(2).is_some_and(|name| name.starts_with("kfree_skb."));
    let ask = || fs::read_to_string("/proc/kallsyms").is_ok_and(|text| text.lines().any(is_part));
    cfg!(target_arch = "aarch64") && *SPLIT.get_or_init(ask)
}

/// Whether root may not read the kernel's memory.
pub fn is_confidential() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|state| state.contains("[confidentiality]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_whole_names() {
        let types =
            b"\0int\0SKB_DROP_REASON_IP_CSUM\0MY_SKB_DROP_REASON_X\0SKB_DROP_REASON_IP_CSUM_2\0SKB_DROP_REASON_CUT";
        let reasons = reasons_in(types);
        assert_eq!(reasons.iter().map(String::as_str).collect::<Vec<_>>(), ["IP_CSUM", "IP_CSUM_2"]);
        assert!(reasons_in(b"\0int\0").is_empty());
    }
}
