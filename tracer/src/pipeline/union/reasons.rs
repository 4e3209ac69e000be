//! Numbers the drop reasons that both sources can report.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::event::Reason;

/// Largest number of names, which no kernel exceeds; further names share the number `u32::MAX`.
const MAX_NAMES: usize = 4096;

/// `NET_DM_MAX_REASON_LEN` (`net/core/drop_monitor.c`).
const MAX_LENGTH: usize = 50;

/// The name that `NET_DM` reports where the drop reason has no usable name.
const NOT_SPECIFIED: &str = "NOT_SPECIFIED";

/// The general drop reason of queueing disciplines.
const QDISC_DROP: &str = "QDISC_DROP";

/// The name of a drop reason that both sources can report.
///
/// `NET_DM` reports `NOT_SPECIFIED` for numbers without a name, for names over 50 characters, and for reasons of
/// subsystems that have not registered theirs. Userspace cannot see which subsystems have, so no subsystem's reason is
/// distinguished from another's. Exact reasons of queueing disciplines come by a tracepoint of their own; `kfree_skb`,
/// which `NET_DM` is attached to, receives the general one (`__tcf_kfree_skb_list`, `net/sched/sch_generic.c`).
pub(crate) fn net_dm_reason_name(reason: &Reason) -> &str {
    let name = &*reason.name;
    match &*reason.subsystem {
        // Names of devlink traps, and names of XDP, which `NET_DM` never reports.
        "hardware" | "xdp" => name,
        "qdisc" => QDISC_DROP,
        "core" if name.len() <= MAX_LENGTH && !is_number(name) => name,
        _ => NOT_SPECIFIED,
    }
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Numbers of names.
#[derive(Default)]
pub(super) struct Reasons {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    names: Vec<Arc<str>>,
}

impl Reasons {
    /// The number of a reason. Allocates for a name that is new.
    pub(super) fn number(&mut self, reason: &Reason) -> u32 {
        let name = net_dm_reason_name(reason);
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len();
        if number >= MAX_NAMES {
            return u32::MAX;
        }
        let (name, number) = (Arc::<str>::from(name), u32::try_from(number).unwrap_or(u32::MAX));
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", |name| name)
    }
}
