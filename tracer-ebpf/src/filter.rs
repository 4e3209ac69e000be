//! Filters of drops: those of one namespace, or of one interface.

use tracer_common::{DropFacts, DropKey, NOTED_COUNTED, NOTED_FILTERED, NOTED_UNDECIDED};

use crate::config::config;

/// The result of the filters for a drop.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Verdict {
    /// The filters select the drop.
    Counted = NOTED_COUNTED,
    /// The namespace is unknown, so that the filters may select the drop.
    Undecided = NOTED_UNDECIDED,
    /// The filters exclude the drop.
    Filtered = NOTED_FILTERED,
}

/// Applies the filters to a drop. `wanted` is [`tracer_common::CpuState::wanted_netns`].
#[inline(always)]
pub(crate) fn verdict(dropped: &DropFacts, wanted: u64) -> Verdict {
    let (filters_netns, ifindex) = (config!(filters_netns) != 0, config!(ifindex));
    if !filters_netns && ifindex == 0 {
        return Verdict::Counted;
    }
    let DropKey { netns, ifindex: found, .. } = dropped.key;
    let other_netns = filters_netns && netns != wanted;
    if netns == 0 {
        // The filter cannot decide, unless the interface is known and is another one.
        let other_interface = ifindex != 0 && found != 0 && found != ifindex;
        return if other_interface { Verdict::Filtered } else { Verdict::Undecided };
    }
    if other_netns || (ifindex != 0 && found != ifindex) { Verdict::Filtered } else { Verdict::Counted }
}
