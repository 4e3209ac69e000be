//! Reasons by number, as both sources can tell them.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::event::Reason;

/// More names than kernels have; further ones are not told apart.
const MAX_NAMES: usize = 4096;

/// `NET_DM_MAX_REASON_LEN` (`net/core/drop_monitor.c`).
const MAX_LENGTH: usize = 50;

/// What `NET_DM` says for reasons that it does not tell.
const NOT_SPECIFIED: &str = "NOT_SPECIFIED";

/// The general reason for drops of queueing disciplines.
const QDISC_DROP: &str = "QDISC_DROP";

/// The name of a reason that both sources can tell.
///
/// `NET_DM` tells `NOT_SPECIFIED` for numbers without a name, for names over 50 characters, and for reasons of
/// subsystems that have not registered theirs. Which ones have is not to be seen from here: no subsystem's reason is told
/// apart from another's. Exact reasons of queueing disciplines come by a tracepoint of their own; what is told to
/// `kfree_skb`, which `NET_DM` hears, is the general one (`__tcf_kfree_skb_list`, `net/sched/sch_generic.c`).
pub fn told_name(reason: &Reason) -> &str {
    let name = &*reason.name;
    match &*reason.subsystem {
        // Names of traps, and XDP's, which `NET_DM` never tells.
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
        let name = told_name(reason);
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
