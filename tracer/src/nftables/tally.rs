//! Adds up traced packets by the rule that dropped them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::pending::{Known, Pending};
use super::trace::{Packet, Step, Trace};
use crate::filter::question::Question;
use crate::filter::{Answers, Filter};

/// A rule, or the policy of a base chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// The family of the table.
    pub family: u8,
    /// The name of the table.
    pub table: Box<str>,
    /// The name of the chain.
    pub chain: Box<str>,
    /// The kernel's number for the rule in its table; absent for a policy.
    pub handle: Option<u64>,
}

/// The drops of a rule.
#[derive(Clone, Debug)]
pub struct RuleDrops {
    /// The rule.
    pub rule: RuleId,
    /// The number of dropped packets.
    pub packets: u64,
    /// The first of them.
    pub example: Packet,
}

/// The account of the traced packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceLedger {
    /// Packets that droptrace's rule marked, as far as the message about that arrived.
    pub marked: u64,
    /// Those of them that do not match the filter.
    pub filtered: u64,
    /// Those of them that a rule dropped.
    pub by_rules: u64,
    /// Those of them that a policy dropped.
    pub by_policies: u64,
    /// Drops of packets that are not known as marked: others trace them too, or the message about the mark was lost.
    pub unknown: u64,
    /// Messages that make no sense.
    pub malformed: u64,
}

impl TraceLedger {
    /// Marked packets that match, and of which no rule and no policy was seen to drop them.
    pub const fn not_dropped(&self) -> u64 {
        self.marked.saturating_sub(self.filtered).saturating_sub(self.by_rules).saturating_sub(self.by_policies)
    }
}

/// Sums by rule.
pub struct Tally<'f> {
    filter: Option<&'f Filter>,
    pending: Pending,
    /// The packet that was announced last, by the kernel's number.
    announced: Option<(u32, Packet)>,
    rows: Vec<RuleDrops>,
    /// The rows by the hash of their rule, so that a drop needs no copy of names.
    by_hash: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
    ledger: TraceLedger,
}

impl<'f> Tally<'f> {
    /// No packets yet. Packets that do not match `filter` are only counted.
    pub fn new(filter: Option<&'f Filter>) -> Self {
        let (rows, by_hash, hasher) = (Vec::new(), HashMap::new(), RandomState::new());
        Self { filter, pending: Pending::new(), announced: None, rows, by_hash, hasher, ledger: TraceLedger::default() }
    }

    /// Adds a message.
    pub fn add(&mut self, trace: &Trace<'_>) {
        match trace.step {
            Step::Announced => self.announced = Some((trace.id, trace.packet())),
            Step::Marked => self.mark(trace.id, trace.packet()),
            Step::DroppedByRule(handle) => self.drop(trace, Some(handle)),
            Step::DroppedByPolicy => self.drop(trace, None),
            Step::GoesOn => {}
        }
    }

    /// Counts a message that makes no sense.
    pub const fn add_malformed(&mut self) {
        self.ledger.malformed += 1;
    }

    /// The account so far.
    pub const fn ledger(&self) -> TraceLedger {
        self.ledger
    }

    /// The rules, those with the most drops first.
    pub fn rows(mut self) -> Vec<RuleDrops> {
        self.rows.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.rule.cmp(&b.rule)));
        self.rows
    }

    fn mark(&mut self, id: u32, packet: Packet) {
        self.ledger.marked += 1;
        // Only the first message of a chain has the bytes.
        let announced = self.announced.take().filter(|(announced, _)| *announced == id && packet.is_empty());
        let packet = announced.map_or(packet, |(_, packet)| packet);
        let matches = self.filter.is_none_or(|filter| filter.matches(&packet.view(), &NoAnswers));
        self.ledger.filtered += u64::from(!matches);
        self.pending.insert(id, matches.then_some(packet));
    }

    fn drop(&mut self, trace: &Trace<'_>, handle: Option<u64>) {
        let packet = match self.pending.take(trace.id) {
            Known::Packet(packet) => packet,
            Known::Filtered => return,
            Known::No => return self.ledger.unknown += 1,
        };
        *(if handle.is_some() { &mut self.ledger.by_rules } else { &mut self.ledger.by_policies }) += 1;
        let hash = self.hasher.hash_one((trace.family, trace.table, trace.chain, handle));
        let of_hash = self.by_hash.entry(hash).or_default();
        let is_rule = |row: &RuleDrops| {
            let RuleId { family, table, chain, handle: of_row } = &row.rule;
            (*family, &**table, &**chain, *of_row) == (trace.family, trace.table, trace.chain, handle)
        };
        if let Some(row) = of_hash.iter().copied().find(|row| is_rule(&self.rows[*row])) {
            self.rows[row].packets += 1;
            return;
        }
        of_hash.push(self.rows.len());
        let rule = RuleId { family: trace.family, table: trace.table.into(), chain: trace.chain.into(), handle };
        self.rows.push(RuleDrops { rule, packets: 1, example: packet });
    }
}

/// A packet alone answers no question about a drop.
struct NoAnswers;

impl Answers for NoAnswers {
    fn answer(&self, _question: &Question) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::own_table::TABLE;
    use super::super::trace::tests::{of_policy, of_rule, parsed};
    use super::*;

    fn add(tally: &mut Tally<'_>, payload: &[u8]) {
        tally.add(&parsed(payload).unwrap().unwrap());
    }

    #[test]
    fn drops_of_marked_packets_are_counted_by_rule() {
        let mut tally = Tally::new(None);
        for id in 0..5 {
            add(&mut tally, &of_rule(TABLE, id, 1, 1));
        }
        add(&mut tally, &of_rule("a", 0, 9, 0));
        add(&mut tally, &of_rule("b", 1, 9, 0));
        // The number of a packet is used again as soon as the packet is gone.
        add(&mut tally, &of_rule(TABLE, 1, 1, 1));
        add(&mut tally, &of_rule("b", 1, 9, 0));
        add(&mut tally, &of_policy(2, 0));
        add(&mut tally, &of_rule("b", 1, 9, 0));
        let expected = TraceLedger { marked: 6, by_rules: 3, by_policies: 1, unknown: 1, ..TraceLedger::default() };
        assert_eq!((tally.ledger(), tally.ledger().not_dropped()), (expected, 2));
        let rows = tally.rows();
        let found: Vec<_> = rows.iter().map(|row| (&*row.rule.table, row.rule.handle, row.packets)).collect();
        assert_eq!(found, [("b", Some(9), 2), ("a", Some(9), 1), ("filter", None, 1)]);
    }

    #[test]
    fn bytes_of_packets_that_were_traced_before_are_announced() {
        let mut tally = Tally::new(None);
        add(&mut tally, &of_rule(TABLE, 3, 2, -3));
        add(&mut tally, &without_bytes(&of_rule(TABLE, 3, 1, 1)));
        add(&mut tally, &of_rule("a", 3, 9, 0));
        assert_eq!((tally.ledger().marked, tally.ledger().by_rules), (1, 1));
        assert_eq!(tally.rows()[0].example.length, 28);
    }

    /// The message without the bytes of its packet, which come last.
    fn without_bytes(payload: &[u8]) -> Vec<u8> {
        payload[..payload.len() - 24 - 12 - 8].to_vec()
    }

    #[test]
    fn packets_that_do_not_match_are_filtered() {
        for (text, drops) in [("udp port 9", 1), ("udp port 10", 0), ("ether[0] = 1", 0), ("len = 28", 1)] {
            let filter = Filter::parse(text).unwrap();
            let mut tally = Tally::new(Some(&filter));
            add(&mut tally, &of_rule(TABLE, 3, 1, 1));
            add(&mut tally, &of_rule("a", 3, 9, 0));
            let ledger = tally.ledger();
            assert_eq!((ledger.by_rules, ledger.filtered, ledger.unknown), (drops, 1 - drops, 0), "{text}");
        }
    }
}
