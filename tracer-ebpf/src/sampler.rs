//! Decides which drops become records.
//!
//! Each drop site (function and reason) may send [`SITE_FACTOR`] times the rate on a CPU each second, and each flow
//! there no more than the rate, so that a flood of one flow does not hide the others. A flow without a record in the
//! last second passes first: a further share of the rate is kept only for such flows.

use aya_ebpf::bindings::BPF_ANY;
use tracer_common::{CpuState, DropFacts, FlowBucket, FlowKey, SAMPLED_FIRST, SITE_FACTOR, SiteBucket, SiteKey};

use crate::account::ticks;
use crate::config::config;
use crate::guard::Held;
use crate::headers::{self, ETH_P_IP, Headers};
use crate::maps::{FLOWS, SITES};

const SECOND: u64 = 1_000_000_000;

/// Returns whether a record of the current drop, which was counted, is wanted: all are, unless only a sample of each key is.
#[inline(always)]
pub(crate) fn wants(held: Held) -> bool {
    let mask = u64::from(config!(sample_mask));
    // SAFETY: the element is this CPU's own.
    let nth = unsafe { (*held.state).nth };
    mask == 0 || nth <= SAMPLED_FIRST || nth & mask == 0
}

/// Returns whether a record of this drop may be sent, which is also true without a limit.
///
/// # Safety
/// `state` must be the element of `CPU_STATE`.
#[inline(always)]
pub(crate) unsafe fn lets_pass(state: *mut CpuState, dropped: &DropFacts) -> bool {
    let rate = u64::from(config!(rate));
    if rate == 0 {
        return true;
    }
    let now = ticks();
    let (location, reason, kind) = (dropped.key.location, dropped.key.reason, u32::from(dropped.key.kind));
    let site = SiteKey { location, reason, kind };
    let mut bucket = SITES.get_ptr_mut(site);
    if bucket.is_none() {
        let full = SiteBucket { since_ticks: now, tokens: rate * SITE_FACTOR, newcomers: rate, suppressed: 0 };
        let _ = SITES.insert(site, full, BPF_ANY.into());
        bucket = SITES.get_ptr_mut(site);
    }
    // Without room for a bucket, the ring buffer still limits the records.
    let Some(bucket) = bucket else { return true };
    // SAFETY: the elements are this CPU's own.
    unsafe {
        refill_site(bucket, rate, now);
        let passes = ((*bucket).tokens != 0 || (*bucket).newcomers != 0) && {
            let flow = flow_of(state, dropped);
            flow_passes(bucket, FlowKey { flow, location, reason, kind }, rate, now)
        };
        if !passes {
            (*bucket).suppressed += 1;
        }
        passes
    }
}

/// Takes a token of the flow and one of the drop site.
///
/// # Safety
/// `site` must be this CPU's own.
#[inline(always)]
unsafe fn flow_passes(site: *mut SiteBucket, key: FlowKey, rate: u64, now: u64) -> bool {
    let Some(flow) = FLOWS.get_ptr_mut(key) else {
        // SAFETY: the caller's.
        unsafe { take_for_newcomer(site) };
        let bucket = FlowBucket { since_ticks: now, shown_ticks: now, tokens: rate - 1 };
        let _ = FLOWS.insert(key, bucket, BPF_ANY.into());
        return true;
    };
    // SAFETY: the elements are this CPU's own.
    unsafe {
        let is_newcomer = elapsed_ns(now, (*flow).shown_ticks) >= SECOND;
        let gained = gain(rate, (*flow).since_ticks, now);
        if gained != 0 {
            (*flow).since_ticks = now;
            (*flow).tokens = at_most((*flow).tokens + gained, rate);
        }
        if is_newcomer {
            take_for_newcomer(site);
        } else if (*flow).tokens != 0 && (*site).tokens != 0 {
            (*site).tokens -= 1;
        } else {
            return false;
        }
        (*flow).shown_ticks = now;
        if (*flow).tokens != 0 {
            (*flow).tokens -= 1;
        }
    }
    true
}

/// Takes a token of the reserved share, or else of the common one. One of them must have a token.
///
/// # Safety
/// `site` must be this CPU's own.
#[inline(always)]
unsafe fn take_for_newcomer(site: *mut SiteBucket) {
    // SAFETY: the caller's.
    unsafe {
        if (*site).newcomers != 0 {
            (*site).newcomers -= 1;
        } else {
            (*site).tokens -= 1;
        }
    }
}

/// # Safety
/// `site` must be this CPU's own.
#[inline(always)]
unsafe fn refill_site(site: *mut SiteBucket, rate: u64, now: u64) {
    // SAFETY: the caller's.
    unsafe {
        let since = (*site).since_ticks;
        let gained = gain(rate, since, now);
        // Both shares gain together, so that they need only one point in time: the smaller one decides.
        if gained != 0 {
            (*site).since_ticks = now;
            (*site).newcomers = at_most((*site).newcomers + gained, rate);
            (*site).tokens = at_most((*site).tokens + gain(rate * SITE_FACTOR, since, now), rate * SITE_FACTOR);
        }
    }
}

/// Tokens since `since`, at most those of one second. The lost fraction of a token is less than that of a tick.
#[inline(always)]
fn gain(rate: u64, since: u64, now: u64) -> u64 {
    let elapsed = elapsed_ns(now, since);
    if elapsed >= SECOND { rate } else { elapsed * rate / SECOND }
}

#[inline(always)]
const fn at_most(tokens: u64, bound: u64) -> u64 {
    if tokens < bound { tokens } else { bound }
}

#[inline(always)]
fn elapsed_ns(now: u64, since: u64) -> u64 {
    now.wrapping_sub(since).wrapping_mul(u64::from(config!(tick_ns)))
}

/// A hash of addresses, ports and protocol; 0 if the packet is not IP or cannot be read.
///
/// # Safety
/// `state` must be the element of `CPU_STATE`.
#[inline(always)]
unsafe fn flow_of(state: *mut CpuState, dropped: &DropFacts) -> u64 {
    // SAFETY: the caller's; the headers have `SCRATCH_LEN` bytes.
    unsafe {
        let Some(headers) = headers::read(state, dropped) else { return 0 };
        if dropped.key.protocol == ETH_P_IP { ipv4_flow(headers) } else { ipv6_flow(headers) }
    }
}

/// # Safety
/// `headers` must be those of [`headers::read`].
#[inline(always)]
unsafe fn ipv4_flow(headers: Headers) -> u64 {
    // SAFETY: the header's length is at most 60 bytes, so that the ports end at byte 64.
    unsafe {
        let (first, second, third): (u64, u64, u64) = (headers.at(0), headers.at(8), headers.at(16));
        let addresses = second >> 32 | third << 32;
        let is_first = (first >> 48) & 0xff1f == 0;
        let ports = if is_first { headers.at::<u32>((first & 0xf) * 4) } else { 0 };
        let transport = (second >> 8) & 0xff;
        mixed(mixed(addresses) ^ u64::from(ports) ^ transport << 32)
    }
}

/// The ports are those after a header without extensions; with extensions, two flows of the same addresses are one.
///
/// # Safety
/// `headers` must be those of [`headers::read`].
#[inline(always)]
unsafe fn ipv6_flow(headers: Headers) -> u64 {
    // SAFETY: all within 48 bytes.
    unsafe {
        let word = |at: u64| headers.at::<u64>(at * 8);
        let ports = headers.at::<u32>(40);
        let addresses = mixed(word(1)) ^ word(2).rotate_left(17) ^ mixed(word(3)).rotate_left(31) ^ word(4);
        let transport = (word(0) >> 48) & 0xff;
        mixed(mixed(addresses) ^ u64::from(ports) ^ transport << 32)
    }
}

/// One round of Fibonacci hashing, with the upper bits moved down.
#[inline(always)]
const fn mixed(word: u64) -> u64 {
    let product = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}
