//! The filter of single drops in userspace, whose questions are answered by names: that of a replay, because the recorded
//! host may be another one, and the conditions on processes of `trace`.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::domain::event::DropEvent;
use crate::domain::ledger::Ledger;
use crate::explain::UsualDrops;
use crate::filter::{Filter, Named};
use crate::identity::users;
use crate::packet;

/// A filter, and the number of drops that it left out.
pub(super) struct RecordFilter {
    filter: Filter,
    usual: &'static UsualDrops,
    home_netns: u32,
    /// Number of drops that do not match, and the part of them whose network namespace is unknown, by the backends that
    /// reported them.
    filtered: HashMap<&'static str, [u64; 2]>,
    /// Number of drops that do not match and have a socket whose process was not found.
    without_process: u64,
}

impl RecordFilter {
    /// Takes the network namespace that `netns self` means.
    pub(super) fn new(filter: &Filter, home_netns: u32) -> Result<Self> {
        let usual = UsualDrops::built_in().context("cannot read the explanations of drop reasons")?;
        Ok(Self { filter: users::numbered(filter), usual, home_netns, filtered: HashMap::new(), without_process: 0 })
    }

    /// Whether a drop matches. Counts those that do not.
    pub(super) fn takes(&mut self, event: &DropEvent<'_>) -> bool {
        let key = event.key;
        let named = Named {
            uid: event.facts.socket.as_ref().and_then(|socket| socket.uid),
            process: event.process.map(|process| &**process),
            ..Named::of_key(key, self.usual, self.home_netns)
        };
        let view = packet::view(event.start, key.protocol, event.length, event.bytes, event.facts.vlan);
        let matches = self.filter.matches(&view, &named);
        if !matches {
            let has_socket = event.facts.socket.as_ref().is_some_and(|socket| socket.inode.is_some());
            self.without_process += u64::from(has_socket && event.process.is_none());
            for origin in event.seen_by {
                let [all, unknown] = self.filtered.entry(origin.name()).or_default();
                *all += 1;
                *unknown += u64::from(key.netns == 0);
            }
        }
        matches
    }

    /// Warns of the drops that a filter by process left out because their process was not found.
    pub(super) fn warn_of_unknown_processes(&self) {
        if self.filter.asks_process() && self.without_process > 0 {
            tracing::warn!(
                "the filter left out {} drops of sockets whose process was not found: it had ended, or closed the socket, \
                 or droptrace may not see it",
                self.without_process
            );
        }
    }

    /// Counts the drops as filtered in the ledger of their backend, which has `recorded` drops in the recording.
    pub(super) fn add_to(&self, ledger: &mut Ledger, recorded: u64) {
        let [all, unknown] = self.filtered.get(ledger.source()).copied().unwrap_or_default();
        ledger.filter(all, unknown, recorded);
    }
}
