//! Filters of drops: those of one namespace, of one interface, and those that the code of a filter selects.

mod code;
mod view;

use tracer_common::{
    CGROUPS_FILTERED, DropFacts, DropKey, FILTER_INTERFACE, FILTER_PACKET, FILTER_USER, NOTED_COUNTED, NOTED_FILTERED,
    NOTED_UNDECIDED,
};

use crate::config::config;
use crate::guard::Held;
use crate::memory::Memory;

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

/// Applies the filters to the current drop. `skb` is the packet, or NULL without one.
///
/// # Safety
/// The state must be this CPU's own.
#[inline(always)]
pub(crate) unsafe fn verdict<M: Memory>(held: Held, skb: *const u8) -> Verdict {
    // SAFETY: the caller's.
    unsafe {
        let verdict = of_interface(held.dropped(), (*held.state).wanted_netns);
        if config!(filter) == 0 || verdict == Verdict::Filtered {
            return verdict;
        }
        if config!(filter) & FILTER_PACKET != 0 {
            view::keep::<M>(held, skb);
        }
        if config!(filter) & FILTER_INTERFACE != 0 {
            view::keep_interface::<M>(held, skb);
        }
        if config!(filter) & FILTER_USER != 0 {
            view::keep_user::<M>(held, skb);
        }
        let is_selected = code::packet_filter(held.state) != 0;
        if config!(cgroups) == CGROUPS_FILTERED {
            let key = &raw mut (*held.state).dropped.key;
            (*key).cgroup_id = 0;
            (*key).socket = 0;
        }
        if is_selected { verdict } else { Verdict::Filtered }
    }
}

/// Applies the filters of namespace and interface. `wanted` is [`tracer_common::CpuState::wanted_netns`].
#[inline(always)]
fn of_interface(dropped: &DropFacts, wanted: u64) -> Verdict {
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
