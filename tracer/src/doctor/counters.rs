//! Checks which of the kernel's counters are read beside a capture backend.

use std::path::Path;

use rustix::thread::CapabilitySet;

use super::{Check, State};
use crate::backend::counters::beside::{Coverage, coverage};
use crate::explain::Counters;
use crate::identity::proc_folder::{hides_processes, pids};
use crate::kernel::support::Facts;

const NAME: &str = "counters beside";

/// The check of the counters beside a capture backend.
pub(super) fn counters(facts: &Facts) -> Check {
    let coverage = Counters::built_in().ok().and_then(|counters| coverage(&counters));
    let sees_all =
        facts.capabilities.contains(CapabilitySet::SYS_PTRACE) && !hides_processes(&pids(Path::new("/proc")));
    check(coverage, sees_all)
}

fn check(coverage: Option<Coverage>, sees_all: bool) -> Check {
    let Some(Coverage { found, compared }) = coverage else {
        let advice = "losses outside kfree_skb stay unknown; mount /proc";
        return Check { name: NAME, state: State::Degraded, found: "not readable".into(), advice: Some(advice.into()) };
    };
    let whose = if sees_all { "each network namespace with a process" } else { "namespaces of this user's processes" };
    let advice = "losses outside kfree_skb in other namespaces stay unknown; grant CAP_SYS_PTRACE";
    Check {
        name: NAME,
        state: if sees_all { State::Good } else { State::Degraded },
        found: format!("{found} of {compared} counters, of {whose}"),
        advice: (!sees_all).then(|| advice.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_says_what_is_covered() {
        let coverage = Some(Coverage { found: 13, compared: 15 });
        let all = check(coverage, true);
        assert_eq!(
            (all.state, &*all.found),
            (State::Good, "13 of 15 counters, of each network namespace with a process")
        );
        let some = check(coverage, false);
        assert!(some.state == State::Degraded && some.found.ends_with("this user's processes"), "{some:?}");
        assert!(some.advice.is_some_and(|advice| advice.contains("CAP_SYS_PTRACE")));
        assert_eq!(check(None, true).state, State::Degraded);
    }
}
