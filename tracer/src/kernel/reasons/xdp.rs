//! Gives names to faults of XDP: the action of the program, or the error of a redirect.

use std::borrow::Cow;
use std::sync::Arc;

use tracer_common::XDP_REDIRECT_FAILED;

use crate::domain::event::{Location, Reason, XDP};

/// Errors of redirects, with their meaning in the kernel (`net/core/filter.c`, `kernel/bpf/devmap.c`,
/// `kernel/bpf/cpumap.c`, `net/xdp/xsk.c`).
const ERRORS: [(i32, &str); 12] = [
    (libc::EBADRQC, "EBADRQC (no map can do this)"),
    (libc::EINVAL, "EINVAL (no such target)"),
    (libc::EMSGSIZE, "EMSGSIZE (frame larger than the MTU of the target)"),
    (libc::ENETDOWN, "ENETDOWN (target is down)"),
    (libc::ENOBUFS, "ENOBUFS (queue of the target is full)"),
    (libc::ENODEV, "ENODEV (no such device)"),
    (libc::ENOMEM, "ENOMEM (no memory)"),
    (libc::ENOSPC, "ENOSPC (queue of the target is full)"),
    (libc::ENXIO, "ENXIO (target is not ready)"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP (target takes no frames)"),
    (libc::EOVERFLOW, "EOVERFLOW (no room for the frame's description)"),
    (libc::EPERM, "EPERM (not allowed)"),
];

/// Drop reason and location of a drop by its [`tracer_common::DropKey::reason`].
pub(crate) fn names(reason: u32) -> (Arc<Reason>, Arc<Location>) {
    let reason = Reason { value: None, subsystem: XDP.into(), name: name(reason).into() };
    (Arc::new(reason), Arc::new(Location { address: 0, symbol: None, trap_group: None }))
}

/// The values whose names are wanted. There are more invalid actions than the first ones that are searched.
pub(crate) fn numbers(wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    /// Actions that are searched, and errors (`MAX_ERRNO`, `include/linux/err.h`).
    const ACTIONS: u32 = 256;
    const ERRORS: u32 = 4095;
    let errors = (1..=ERRORS).map(|error| XDP_REDIRECT_FAILED | error);
    (0..ACTIONS).chain(errors).filter(|reason| wanted(&name(*reason))).collect()
}

fn name(reason: u32) -> Cow<'static, str> {
    if reason & XDP_REDIRECT_FAILED != 0 {
        let error = reason & !XDP_REDIRECT_FAILED;
        let known = ERRORS.iter().find(|(number, _)| u32::try_from(*number) == Ok(error));
        return known
            .map_or_else(|| format!("redirect failed: error {error}"), |(_, text)| format!("redirect failed: {text}"))
            .into();
    }
    // `enum xdp_action` (`include/uapi/linux/bpf.h`). Drivers report an action that they could not carry out.
    match reason {
        0 => "XDP_ABORTED".into(),
        1 => "XDP_DROP failed".into(),
        2 => "XDP_PASS failed".into(),
        3 => "XDP_TX failed".into(),
        4 => "XDP_REDIRECT failed".into(),
        other => format!("invalid action {other}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_errors_have_names() {
        let failed = |error: i32| XDP_REDIRECT_FAILED | error.unsigned_abs();
        for (reason, expected) in [
            (0, "XDP_ABORTED"),
            (3, "XDP_TX failed"),
            (4, "XDP_REDIRECT failed"),
            (7, "invalid action 7"),
            (failed(-libc::ENETDOWN), "redirect failed: ENETDOWN (target is down)"),
            (failed(-4095), "redirect failed: error 4095"),
        ] {
            assert_eq!(name(reason), expected);
        }
    }

    #[test]
    fn values_are_found_by_name() {
        assert_eq!(numbers(|name| name == "XDP_ABORTED"), [0]);
        let down = XDP_REDIRECT_FAILED | libc::ENETDOWN.unsigned_abs();
        assert_eq!(numbers(|name| name.contains("ENETDOWN")), [down]);
    }

    #[test]
    fn reason_has_neither_number_nor_address() {
        let (reason, location) = names(0);
        assert_eq!((reason.value, &*reason.subsystem, location.address), (None, "xdp", 0));
    }
}
