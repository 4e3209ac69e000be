//! The ledger of owners, as counters.

use super::model::{Family, Kind, Sample};
use crate::domain::attribution::{Attribution, AttributionLedger};

/// All counted drops, by what is known of their owners. Each count only rises, and their sum is the number of counted
/// drops.
#[derive(Debug, Default)]
pub(super) struct OwnerAccounts {
    /// The last ledger; absent before the first one.
    last: Option<AttributionLedger>,
    /// Counts in the order of [`AttributionLedger::parts`].
    counts: [u64; 4],
}

impl OwnerAccounts {
    /// Adds the increase since the last ledger. An owner may become known later: then drops move within the ledger, but
    /// not within the counters, where they would make a count fall.
    pub(super) fn take(&mut self, ledger: Option<AttributionLedger>) {
        let Some(ledger) = ledger else { return };
        let before = self.last.replace(ledger).unwrap_or_default();
        let parts = || ledger.parts().into_iter().zip(before.parts());
        let mut moved: u64 = parts().map(|((_, now), (_, before))| before.saturating_sub(now)).sum();
        for (count, ((_, now), (_, before))) in self.counts.iter_mut().zip(parts()) {
            let rise = now.saturating_sub(before);
            let known = rise.min(moved);
            moved -= known;
            *count += rise - known;
        }
    }

    /// Absent if the backend reports no owners, or owners are not asked for.
    pub(super) fn family(&self) -> Option<Family> {
        let parts = self.last?.parts().into_iter().zip(self.counts);
        let sample = |((part, _), count): ((_, _), _)| {
            Sample::new([("backend", "ebpf"), ("account", Attribution::name(part))], count)
        };
        Some(Family {
            name: "droptrace_ledger_owners",
            help: "Counted drops by what is known of their owners: attributed to a control group, unknown (the root group, or a \
                   group that ended before it was looked up), no_socket, or no_room (counted by reason only)",
            unit: None,
            kind: Kind::Counter,
            samples: parts.map(sample).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(attributed: u64, unknown: u64, no_socket: u64, no_room: u64) -> AttributionLedger {
        AttributionLedger { attributed, unknown, no_socket, no_room, resident: 0 }
    }

    #[test]
    fn no_ledger_is_no_metric() {
        let mut accounts = OwnerAccounts::default();
        accounts.take(None);
        assert_eq!(accounts.family(), None);
    }

    #[test]
    fn counts_only_rise_and_their_sum_is_exact() {
        let mut accounts = OwnerAccounts::default();
        let mut before = [0; 4];
        let ledgers = [
            (ledger(1, 2, 4, 8), [1, 2, 4, 8]),
            (ledger(3, 2, 5, 8), [3, 2, 5, 8]),
            // Two drops got an owner, and one came.
            (ledger(6, 0, 5, 8), [4, 2, 5, 8]),
            // All owners were forgotten, and two drops came.
            (ledger(0, 8, 5, 8), [4, 4, 5, 8]),
            (ledger(0, 8, 9, 9), [4, 4, 9, 9]),
        ];
        for (ledger, expected) in ledgers {
            accounts.take(Some(ledger));
            assert_eq!(accounts.counts, expected);
            assert_eq!(accounts.counts.iter().sum::<u64>(), ledger.parts().iter().map(|(_, count)| count).sum::<u64>());
            assert!(before.iter().zip(accounts.counts).all(|(before, now)| *before <= now));
            before = accounts.counts;
        }
        let samples = accounts.family().unwrap().samples;
        assert_eq!(samples[2], Sample::new([("backend", "ebpf"), ("account", "no_socket")], 9_u64));
    }
}
