//! The result of `droptrace rule`.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::report::Host;
use crate::explain::{Entrance, inside};
use crate::nftables::conntrack::ConntrackDrops;
use crate::nftables::ruleset::Rule;
use crate::nftables::tally::{RuleDrops, TraceLedger};
use crate::nftables::{Sampled, family_name};

/// The result.
pub(super) struct Report {
    pub(super) host: Host,
    /// The inode number of the network namespace, and its name.
    pub(super) netns: u32,
    pub(super) netns_name: Option<Arc<str>>,
    /// The way into it for the commands that show rules.
    pub(super) entrance: Entrance,
    pub(super) filter: Option<String>,
    pub(super) duration: Duration,
    /// Traced packets per second, at most.
    pub(super) limit: u32,
    /// The kernel deletes droptrace's table with the process.
    pub(super) is_owned: bool,
    pub(super) ledger: Ledger,
    /// What connection tracking dropped in the namespace during the run, of all packets; absent where the kernel does not show
    /// it.
    pub(super) conntrack: Option<ConntrackDrops>,
    pub(super) rows: Vec<Row>,
}

impl Report {
    /// The greatest number of traced packets that connection tracking may have dropped: it counts all packets, so that those
    /// it dropped may be others.
    pub(super) fn most_by_conntrack(&self) -> u64 {
        let possible = self.ledger.trace.not_dropped() + self.ledger.unseen();
        self.conntrack.map_or(0, |drops| drops.all.min(possible))
    }
}

/// A rule or policy that dropped packets.
pub(super) struct Row {
    pub(super) drops: RuleDrops,
    /// Absent for a policy, and for a rule that was deleted during the run.
    pub(super) rule: Option<Rule>,
    /// Absent if the chain is no base chain.
    pub(super) hook: Option<&'static str>,
    /// The rise of the rule's own counter; absent if the rule has none, or was made during the run.
    pub(super) rise: Option<u64>,
    /// The table was deleted or changed during the run, so that its rule with this handle may be another one now: nothing is
    /// known but the number.
    pub(super) is_replaced: bool,
}

impl Row {
    /// Drops by a table that was replaced during the run.
    pub(super) const fn of_replaced_table(drops: RuleDrops) -> Self {
        Self { drops, rule: None, hook: None, rise: None, is_replaced: true }
    }

    pub(super) fn family(&self) -> &'static str {
        family_name(self.drops.rule.family)
    }

    /// The command that shows the rule, from the namespace in which the user runs droptrace.
    pub(super) fn command(&self, entrance: &Entrance) -> String {
        let rule = &self.drops.rule;
        inside(entrance, &format!("nft -a list chain {} {} {}", self.family(), rule.table, rule.chain))
    }

    /// The rule, or what is known instead.
    pub(super) fn text(&self) -> String {
        if self.drops.rule.handle.is_none() {
            return "policy drop".to_owned();
        }
        if self.is_replaced {
            return "(the ruleset changed during the run)".to_owned();
        }
        let Some(rule) = &self.rule else { return "(the rule was deleted)".to_owned() };
        let text = rule.text.clone().unwrap_or_else(|| "(see the command)".to_owned());
        rule.comment.iter().fold(text, |text, comment| format!("{text} comment \"{comment}\""))
    }
}

/// The account of the traced packets.
#[derive(Clone, Copy)]
pub(super) struct Ledger {
    /// The kernel's counts.
    pub(super) sampled: Sampled,
    /// The counts of the messages.
    pub(super) trace: TraceLedger,
    /// Messages for which the socket had no room; absent if the kernel does not count them.
    pub(super) lost: Option<u32>,
}

impl Ledger {
    /// Packets that matched the conditions and were beyond the limit.
    pub(super) const fn beyond_limit(&self) -> u64 {
        self.sampled.selected.saturating_sub(self.sampled.traced)
    }

    /// Traced packets of which the first message was lost, and fragments of which nothing else was reported.
    pub(super) const fn unseen(&self) -> u64 {
        self.sampled.traced.saturating_sub(self.trace.marked) + self.trace.fragments
    }
}
