//! Sums up the intervals of a history: the report of a time that is over.

mod gaps;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::backend::history::{Interval, Read};
use crate::domain::attribution::AttributionLedger;
use crate::domain::event::{Location, NamedKey, Reason, Symbol, Timestamp};
use crate::domain::past::{ClockStep, Past, Span};
use crate::domain::report::{Host, SourceReport, StatReport};
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::UsualDrops;
use crate::filter::{Filter, Named, View};
use gaps::Seen;

/// The most keys that are counted apart; drops of further ones are counted by reason.
const MAX_ROWS: usize = 1 << 20;

/// Which drops of the intervals count.
#[derive(Clone, Debug)]
pub(crate) struct RowFilter {
    /// An expression whose questions the names of a row answer.
    pub(crate) filter: Filter,
    /// What the words `usual` and `unusual` know.
    pub(crate) usual: &'static UsualDrops,
}

/// The sum of intervals.
#[derive(Debug)]
pub(crate) struct PastSum {
    asked: Span,
    filter: Option<RowFilter>,
    host: Option<Host>,
    drops: HashMap<Arc<NamedKey>, DropTotal, RandomState>,
    overflow: HashMap<Option<Arc<Reason>>, OverflowTotal, RandomState>,
    sources: Vec<SourceReport>,
    /// The first address of each drop site: a kernel that started again has it at another address.
    sites: HashMap<(Symbol, Option<Arc<str>>), Arc<Location>, RandomState>,
    elapsed: Duration,
    has_owners: bool,
    home_netns: u32,
    seen: Vec<Seen>,
    /// The times of intervals outside the span.
    elsewhere: Option<Span>,
    steps: Vec<ClockStep>,
    damaged: u64,
    selections: Vec<String>,
    records_left_out: u64,
    /// All packets and bytes: an interval whose counts would not fit is damaged.
    all: [u64; 2],
}

impl PastSum {
    /// The sum of no intervals; `asked` is the span to be summed up.
    pub(crate) fn new(asked: Span, filter: Option<RowFilter>) -> Self {
        Self {
            asked,
            filter,
            host: None,
            drops: HashMap::default(),
            overflow: HashMap::default(),
            sources: vec![],
            sites: HashMap::default(),
            elapsed: Duration::ZERO,
            has_owners: false,
            home_netns: 0,
            seen: vec![],
            elsewhere: None,
            steps: vec![],
            damaged: 0,
            selections: vec![],
            records_left_out: 0,
            all: [0; 2],
        }
    }

    /// Inode number of the network namespace that the agent ran in; 0 if it is unknown.
    pub(crate) const fn home_netns(&self) -> u32 {
        self.home_netns
    }

    /// Whether the agent reported the owners of packets.
    pub(crate) const fn has_owners(&self) -> bool {
        self.has_owners
    }

    /// Single drops that found no room in their intervals.
    pub(crate) const fn records_left_out(&self) -> u64 {
        self.records_left_out
    }

    /// The time from the first to the last interval that lies outside the span; `None` if there is none.
    pub(crate) const fn elsewhere(&self) -> Option<Span> {
        self.elsewhere
    }

    /// Adds what one step of reading found.
    pub(crate) fn add(&mut self, read: Read) {
        match read {
            Read::Interval(interval) => self.interval(*interval),
            Read::Elsewhere(span) => {
                let known = self.elsewhere.unwrap_or(span);
                self.elsewhere = Some(Span { from: known.from.min(span.from), to: known.to.max(span.to) });
            }
            Read::Damaged(_) => self.damaged += 1,
        }
    }

    fn interval(&mut self, interval: Interval) {
        let Some(all) = with_counts_of(self.all, &interval) else {
            self.damaged += 1;
            return;
        };
        self.all = all;
        let step = interval.clock_step();
        self.steps.extend(step.map(|by_ns| ClockStep { at: interval.ended_at, by_ns }));
        self.seen.push(Seen::of(&interval));
        self.elapsed += interval.elapsed;
        self.has_owners |= interval.has_owners;
        self.records_left_out = self.records_left_out.saturating_add(interval.records_left_out);
        self.home_netns = interval.home_netns;
        if !interval.selection.is_empty() && !self.selections.contains(&interval.selection) {
            self.selections.push(interval.selection);
        }
        let counted: u64 = interval.drops.iter().map(|total| total.packets).sum();
        let (mut filtered, mut unknown) = (0, 0);
        for total in interval.drops {
            if self.takes(&total.key, interval.home_netns) {
                self.row(total);
            } else {
                filtered += total.packets;
                unknown += if total.key.netns == 0 { total.packets } else { 0 };
            }
        }
        interval.overflow.iter().for_each(|total| self.add_overflow(total));
        for mut report in interval.sources {
            if self.filter.is_some() {
                report.ledger.filter(filtered, unknown, counted);
            }
            self.source(report);
        }
        self.host = Some(interval.host);
    }

    fn takes(&self, key: &NamedKey, home_netns: u32) -> bool {
        self.filter.as_ref().is_none_or(|RowFilter { filter, usual }| {
            filter.matches(&View::default(), &Named::of_key(key, usual, home_netns))
        })
    }

    fn row(&mut self, total: DropTotal) {
        let key = self.at_first_address(total.key);
        if let Some(sum) = self.drops.get_mut(&key) {
            sum.add(&DropTotal { key, ..total });
        } else if self.drops.len() < MAX_ROWS {
            self.drops.insert(Arc::clone(&key), DropTotal { key, ..total });
        } else {
            let reason = Some(Arc::clone(&key.reason));
            self.add_overflow(&OverflowTotal { reason, packets: total.packets, bytes: total.bytes });
        }
    }

    /// The key with the first address of its drop site.
    fn at_first_address(&mut self, key: Arc<NamedKey>) -> Arc<NamedKey> {
        let Some(symbol) = key.location.symbol.clone() else { return key };
        let known = self.sites.entry((symbol, key.location.trap_group.clone()));
        let location = known.or_insert_with(|| Arc::clone(&key.location));
        if location.address == key.location.address {
            return key;
        }
        Arc::new(NamedKey { location: Arc::clone(location), ..(*key).clone() })
    }

    fn add_overflow(&mut self, total: &OverflowTotal) {
        match self.overflow.get_mut(&total.reason) {
            Some(sum) => {
                sum.packets += total.packets;
                sum.bytes = sum.bytes.zip(total.bytes).map(|(one, other)| one + other);
            }
            None => drop(self.overflow.insert(total.reason.clone(), total.clone())),
        }
    }

    fn source(&mut self, report: SourceReport) {
        let same = |it: &&mut SourceReport| it.mode == report.mode && it.ledger.source() == report.ledger.source();
        if let Some(known) = self.sources.iter_mut().find(same)
            && let Some(sum) = known.ledger.plus(&report.ledger)
        {
            known.ledger = sum;
        } else {
            self.sources.push(report);
        }
    }

    /// The report of the intervals; `None` if there are none. The time after `now` is no gap.
    pub(crate) fn report(&self, now: Timestamp) -> Option<StatReport> {
        let drops: Vec<_> = self.drops.values().cloned().collect();
        let overflow: Vec<_> = self.overflow.values().cloned().collect();
        let asked = Span { to: self.asked.to.min(now), ..self.asked };
        let (covered, gaps) = gaps::of(self.seen.clone(), asked)?;
        let past = Past {
            asked: self.asked,
            covered,
            intervals: self.seen.len() as u64,
            gaps,
            steps: self.steps.clone(),
            damaged: self.damaged,
            selections: self.selections.clone(),
        };
        let attribution = self.has_owners.then(|| AttributionLedger::of(&drops, &overflow));
        Some(StatReport {
            host: self.host.clone()?,
            started_at: covered.from,
            duration: self.elapsed,
            is_final: true,
            sources: self.sources.clone(),
            drops,
            overflow,
            hidden: vec![],
            own_netlink_drops: None,
            attribution,
            flows: None,
            stacks: None,
            retransmissions: None,
            refused: None,
            outside: None,
            past: Some(past),
        })
    }
}

/// The sums of packets and bytes with those of an interval; `None` where they do not fit into 64 bits.
fn with_counts_of([packets, bytes]: [u64; 2], interval: &Interval) -> Option<[u64; 2]> {
    let rows = interval.drops.iter().map(|total| (total.packets, total.bytes));
    let counts = rows.chain(interval.overflow.iter().map(|total| (total.packets, total.bytes)));
    counts.into_iter().try_fold([packets, bytes], |[packets, bytes], (more_packets, more_bytes)| {
        Some([packets.checked_add(more_packets)?, bytes.checked_add(more_bytes.unwrap_or(0))?])
    })
}

#[cfg(test)]
mod tests;
