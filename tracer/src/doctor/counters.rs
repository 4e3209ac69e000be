//! Checks which of the kernel's counters are read beside a capture backend.

use std::path::Path;

use rustix::thread::CapabilitySet;

use super::{Check, State};
use crate::backend::counters::beside::{Coverage, coverage};
use crate::explain::Counters;
use crate::identity::proc_folder::{hides_processes, pids};
use crate::kernel::support::Facts;

const NAME: &str = "kernel's counters";

/// The check of the counters beside a capture backend.
pub(super) fn counters(facts: &Facts) -> Check {
    let coverage = Counters::built_in().ok().and_then(|counters| coverage(&counters));
    let may = |capability| facts.capabilities.contains(capability);
    let seen = match may(CapabilitySet::SYS_PTRACE) && !hides_processes(&pids(Path::new("/proc"))) {
        true if may(CapabilitySet::SYS_ADMIN) => Seen::All,
        true => Seen::WithProcess,
        false => Seen::Own,
    };
    check(coverage, seen)
}

/// The network namespaces whose counters can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// All, and the listening sockets of each.
    All,
    /// Those with a process; listening sockets of this namespace only.
    WithProcess,
    /// Those of this user's processes.
    Own,
}

fn check(coverage: Option<Coverage>, seen: Seen) -> Check {
    let Some(Coverage { found, compared }) = coverage else {
        let advice = "losses outside kfree_skb stay unknown; mount /proc";
        return Check { name: NAME, state: State::Degraded, found: "not readable".into(), advice: Some(advice.into()) };
    };
    let (whose, advice) = match seen {
        Seen::All => ("each network namespace with a process or a name", None),
        Seen::WithProcess => (
            "each network namespace with a process",
            Some("namespaces without a process and listeners of others stay unknown; grant CAP_SYS_ADMIN"),
        ),
        Seen::Own => (
            "namespaces of this user's processes",
            Some("losses outside kfree_skb in other namespaces stay unknown; grant CAP_SYS_PTRACE"),
        ),
    };
    Check {
        name: NAME,
        state: if seen == Seen::Own { State::Degraded } else { State::Good },
        found: format!("{found} of {compared} counters, of {whose}"),
        advice: advice.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_says_what_is_covered() {
        let coverage = Some(Coverage { found: 13, compared: 15 });
        let all = check(coverage, Seen::All);
        let found = "13 of 15 counters, of each network namespace with a process or a name";
        assert_eq!((all.state, &*all.found, all.advice), (State::Good, found, None));
        let most = check(coverage, Seen::WithProcess);
        assert!(most.state == State::Good && most.found.ends_with("with a process"), "{most:?}");
        assert!(most.advice.is_some_and(|advice| advice.contains("CAP_SYS_ADMIN")));
        let some = check(coverage, Seen::Own);
        assert!(some.state == State::Degraded && some.found.ends_with("this user's processes"), "{some:?}");
        assert!(some.advice.is_some_and(|advice| advice.contains("CAP_SYS_PTRACE")));
        assert_eq!(check(None, Seen::All).state, State::Degraded);
    }
}
