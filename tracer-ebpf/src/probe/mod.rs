//! The probes: one file for each tracepoint, all counted into one key space.

mod devlink_trap_report;
mod kfree_skb;
mod qdisc_drop;
mod tcp_conn_request;
mod tcp_retransmit_skb;
mod udp_fail_queue_rcv_skb;
mod xdp;

use tracer_common::UDP_RECEIVERS_LATER;

use crate::config::config;
use crate::filter::{self, Verdict};
use crate::guard::Held;
use crate::memory::Memory;
use crate::{account, flow, log, record, sampler, segment};

/// Counts the current drop and, if records are wanted, sends records of it. `skb` is the packet, or NULL without one;
/// `context` is the program's.
#[inline(always)]
pub(crate) fn take<M: Memory>(held: Held, skb: *const u8, context: *const u8) {
    if count::<M>(held, skb) == Verdict::Filtered {
        return;
    }
    if config!(retransmits) != 0 {
        segment::send(held);
    }
    if config!(events) != 0 && sampler::wants(held) {
        record::send::<M>(held, skb, context);
    }
}

/// Counts the current drop, if the filters select it.
#[inline(always)]
fn count<M: Memory>(held: Held, skb: *const u8) -> Verdict {
    // SAFETY: the elements are this CPU's own.
    unsafe {
        let counters = &raw mut (*held.counts).counters;
        (*held.state).hits[held.generation() as usize] += 1;
        let verdict = filter::verdict::<M>(held, skb);
        match verdict {
            Verdict::Filtered => {
                (*counters).filtered += 1;
                return verdict;
            }
            Verdict::Undecided => (*counters).unknown_netns += 1,
            Verdict::Counted => {}
        }
        let is_overflow = account::count::<M>(held, skb) == account::Counted::Overflow;
        if log::is_on() && is_overflow && (*counters).overflow == 1 {
            log::overflow();
        }
        if config!(udp_receivers) == UDP_RECEIVERS_LATER && !is_overflow {
            (*held.state).dropped.counted_in = held.generation() as u8 + 1;
        }
        // Flows are a breakdown of the counts by key.
        if config!(flows) != 0 && !is_overflow {
            flow::count::<M>(held, skb);
        }
        verdict
    }
}
