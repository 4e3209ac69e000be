//! Which drops are counted: those of one namespace, or of one interface.

use tracer_common::{DropFacts, DropKey, NOTED_COUNTED, NOTED_FILTERED, NOTED_UNDECIDED};

use crate::config::config;

/// What filters say of a drop.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Verdict {
    /// It is one of those that were asked for.
    Counted = NOTED_COUNTED,
    /// Its namespace is unknown: it may be one of those.
    Undecided = NOTED_UNDECIDED,
    /// It is none of those.
    Filtered = NOTED_FILTERED,
}

/// What the filters say of a drop. `wanted` is [`tracer_common::CpuState::wanted_netns`].
#[inline(always)]
pub(crate) fn verdict(dropped: &DropFacts, wanted: u64) -> Verdict {
    let (filters_netns, ifindex) = (config!(filters_netns) != 0, config!(ifindex));
    if !filters_netns && ifindex == 0 {
        return Verdict::Counted;
    }
    let DropKey { netns, ifindex: found, .. } = dropped.key;
    let other_netns = filters_netns && netns != wanted;
    if netns == 0 {
        // The filter cannot decide, unless an interface is known and is another one.
        let other_interface = ifindex != 0 && found != 0 && found != ifindex;
        return if other_interface { Verdict::Filtered } else { Verdict::Undecided };
    }
    if other_netns || (ifindex != 0 && found != ifindex) { Verdict::Filtered } else { Verdict::Counted }
}
