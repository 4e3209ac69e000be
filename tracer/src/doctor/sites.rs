//! Checks whether the kernel reports who dropped a packet.

use super::{Check, State};
use crate::kernel::btf::KernelBtf;
use crate::kernel::symbols::has_symbol;

/// The check of drop sites; `None` where they are those of all kernels.
pub(super) fn sites(btf: &KernelBtf) -> Option<Check> {
    is_split(btf).then(|| Check {
        name: "drop sites",
        state: State::Degraded,
        found: "kfree_skb for every drop: this kernel's compiler split that function".into(),
        advice: Some("`trace --stack` shows the functions that called it".into()),
    })
}

/// Whether this is a kernel for arm64 that reports each drop within `kfree_skb` itself: the compiler split off a part, which calls
/// the tracepoint, and returns to `kfree_skb`. Kernels with reasons are not asked: since Linux 6.0 or so the compiler must not
/// split it (`__fix_address`, `include/linux/skbuff.h`).
pub(super) fn is_split(btf: &KernelBtf) -> bool {
    let may_be_split = cfg!(target_arch = "aarch64") && btf.tracepoint().is_ok_and(|tracepoint| !tracepoint.has_reason);
    may_be_split && has_symbol(|name| name.starts_with("kfree_skb.")).unwrap_or(false)
}
