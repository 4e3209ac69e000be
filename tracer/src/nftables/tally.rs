//! Adds up traced packets by the rule that dropped them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::changes::Changes;
use super::pending::{Known, MarkedPacket, Pending};
use super::trace::{Packet, Step, Trace};
use crate::filter::question::Question;
use crate::filter::{Answers, Filter};

/// A rule, or the policy of a base chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RuleId {
    /// The family of the table.
    pub(crate) family: u8,
    /// The name of the table.
    pub(crate) table: Box<str>,
    /// The name of the chain.
    pub(crate) chain: Box<str>,
    /// The kernel's number for the rule in its table; absent for a policy.
    pub(crate) handle: Option<u64>,
}

/// The drops of a rule.
#[derive(Clone, Debug)]
pub(crate) struct RuleDrops {
    /// The rule.
    pub(crate) rule: RuleId,
    /// Which of the tables that had this name during the run, as [`Changes::epoch`] numbers them.
    pub(crate) epoch: u32,
    /// The number of dropped packets.
    pub(crate) packets: u64,
    /// The first of them.
    pub(crate) example: Packet,
}

/// The account of the traced packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceLedger {
    /// Packets that droptrace's rule marked, as far as the message about that arrived.
    pub(crate) marked: u64,
    /// Those of them that do not match the filter.
    pub(crate) filtered: u64,
    /// Those of them that a rule dropped.
    pub(crate) by_rules: u64,
    /// Those of them that a policy dropped.
    pub(crate) by_policies: u64,
    /// Marked fragments of which no chain reported the fate: connection tracking keeps them until it reassembles
    /// the packet, which has the number of the fragment that came last.
    pub(crate) fragments: u64,
    /// Drops of packets that are not known as marked: others trace them too, or the message about the mark was lost.
    pub(crate) unknown: u64,
    /// Messages that make no sense.
    pub(crate) malformed: u64,
}

impl TraceLedger {
    /// Marked packets that match, and of which no rule and no policy was seen to drop them.
    pub(crate) const fn not_dropped(&self) -> u64 {
        let decided = self.marked.saturating_sub(self.fragments).saturating_sub(self.filtered);
        decided.saturating_sub(self.by_rules).saturating_sub(self.by_policies)
    }
}

/// Sums by rule.
pub(crate) struct Tally<'f> {
    filter: Option<&'f Filter>,
    pending: Pending,
    /// The packet that was announced last, by the kernel's number.
    announced: Option<(u32, Packet)>,
    rows: Vec<RuleDrops>,
    /// The rows by the hash of their rule, so that a drop needs no copy of names.
    by_hash: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
    ledger: TraceLedger,
    /// The changes of the rules, which the caller adds in their order among the messages.
    pub(crate) changes: Changes,
}

impl<'f> Tally<'f> {
    /// No packets yet. Packets that do not match `filter` are only counted.
    pub(crate) fn new(filter: Option<&'f Filter>) -> Self {
        let (rows, by_hash, hasher) = (Vec::new(), HashMap::new(), RandomState::new());
        let (ledger, changes) = (TraceLedger::default(), Changes::default());
        Self { filter, pending: Pending::new(), announced: None, rows, by_hash, hasher, ledger, changes }
    }

    /// Adds a message.
    pub(crate) fn add(&mut self, trace: &Trace<'_>) {
        match trace.step {
            Step::Announced => self.announced = Some((trace.id, trace.packet())),
            Step::Marked => self.mark(trace.id, trace.packet()),
            Step::DroppedByRule(handle) => self.drop(trace, Some(handle)),
            Step::DroppedByPolicy => self.drop(trace, None),
            Step::GoesOn => self.reassemble(trace),
        }
    }

    /// Counts a message that makes no sense.
    pub(crate) const fn add_malformed(&mut self) {
        self.ledger.malformed += 1;
    }

    /// The account so far.
    pub(crate) const fn ledger(&self) -> TraceLedger {
        self.ledger
    }

    /// The rules, those with the most drops first.
    pub(crate) fn rows(&self) -> Vec<RuleDrops> {
        let mut rows = self.rows.clone();
        rows.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| (&a.rule, a.epoch).cmp(&(&b.rule, b.epoch))));
        rows
    }

    /// Whether the table of these drops is still the one that dropped the packets.
    pub(crate) fn is_current(&self, drops: &RuleDrops) -> bool {
        drops.epoch == self.changes.epoch(drops.rule.family, &drops.rule.table, self.changes.now())
    }

    fn mark(&mut self, id: u32, packet: Packet) {
        self.ledger.marked += 1;
        // Only the first message of a chain has the bytes.
        let announced = self.announced.take().filter(|(announced, _)| *announced == id && packet.is_empty());
        let packet = announced.map_or(packet, |(_, packet)| packet);
        let known = if packet.is_fragment { Known::Fragment(packet) } else { self.filtered(packet) };
        self.ledger.fragments += u64::from(packet.is_fragment);
        self.pending.insert(id, MarkedPacket { known, at: self.changes.now() });
    }

    /// Applies the filter to a marked packet.
    fn filtered(&mut self, packet: Packet) -> Known {
        let matches = self.filter.is_none_or(|filter| filter.matches(&packet.view(), &NoAnswers));
        self.ledger.filtered += u64::from(!matches);
        if matches { Known::Packet(packet) } else { Known::Filtered }
    }

    /// Applies the filter to a packet that was marked as a fragment, at the first message that has the bytes of the whole.
    fn reassemble(&mut self, trace: &Trace<'_>) {
        if self.ledger.fragments == 0 {
            return;
        }
        let Some(MarkedPacket { known: Known::Fragment(_), .. }) = self.pending.get_mut(trace.id) else { return };
        let packet = trace.packet();
        if packet.is_empty() || packet.is_fragment {
            return;
        }
        self.ledger.fragments -= 1;
        let known = self.filtered(packet);
        if let Some(marked) = self.pending.get_mut(trace.id) {
            marked.known = known;
        }
    }

    fn drop(&mut self, trace: &Trace<'_>, handle: Option<u64>) {
        self.reassemble(trace);
        let Some(MarkedPacket { mut known, at }) = self.pending.take(trace.id) else {
            return self.ledger.unknown += 1;
        };
        if let Known::Fragment(fragment) = known {
            self.ledger.fragments = self.ledger.fragments.saturating_sub(1);
            known = self.filtered(fragment);
        }
        let Known::Packet(packet) = known else { return };
        *(if handle.is_some() { &mut self.ledger.by_rules } else { &mut self.ledger.by_policies }) += 1;
        // A packet that was marked before a change may have met the rules before it or those after it; one that was marked
        // after the notification met those after it, because the kernel notifies after it has exchanged the rules.
        let epoch = self.changes.epoch(trace.family, trace.table, at);
        let hash = self.hasher.hash_one((trace.family, trace.table, trace.chain, handle, epoch));
        let of_hash = self.by_hash.entry(hash).or_default();
        let is_rule = |row: &RuleDrops| {
            let RuleId { family, table, chain, handle: of_row } = &row.rule;
            let of_row = (*family, &**table, &**chain, *of_row, row.epoch);
            of_row == (trace.family, trace.table, trace.chain, handle, epoch)
        };
        if let Some(row) = of_hash.iter().copied().find(|row| is_rule(&self.rows[*row])) {
            self.rows[row].packets += 1;
            return;
        }
        of_hash.push(self.rows.len());
        let rule = RuleId { family: trace.family, table: trace.table.into(), chain: trace.chain.into(), handle };
        self.rows.push(RuleDrops { rule, epoch, packets: 1, example: packet });
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
    use super::super::INET;
    use super::super::changes::Change;
    use super::super::own_table::TABLE;
    use super::super::trace::tests::{NETWORK, of_policy, of_rule, parsed};
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
    fn drops_by_the_rules_of_another_table_of_this_name_are_kept_apart() {
        let mut tally = Tally::new(None);
        let table = Change::Table { family: INET, table: "a" };
        for id in 0..3 {
            add(&mut tally, &of_rule(TABLE, id, 1, 1));
        }
        add(&mut tally, &of_rule("a", 0, 9, 0));
        tally.changes.add(&table);
        // It was marked before the change: nobody knows which of the rules it met.
        add(&mut tally, &of_rule("a", 1, 9, 0));
        add(&mut tally, &of_rule("b", 2, 9, 0));
        add(&mut tally, &of_rule(TABLE, 3, 1, 1));
        add(&mut tally, &of_rule("a", 3, 9, 0));
        let rows = tally.rows();
        let found: Vec<_> = rows.iter().map(|row| (&*row.rule.table, row.packets, tally.is_current(row))).collect();
        assert_eq!(found, [("a", 2, false), ("a", 1, true), ("b", 1, true)]);
        tally.changes.everywhere();
        assert!(!rows.iter().any(|row| tally.is_current(row)));
    }

    #[test]
    fn reassembled_packet_has_the_number_of_its_last_fragment() {
        let filter = Filter::parse("udp port 9").unwrap();
        let mut tally = Tally::new(Some(&filter));
        // The first fragment has the ports, and the last one has an offset.
        add(&mut tally, &fragment(&of_rule(TABLE, 3, 1, 1), [0x20, 0]));
        add(&mut tally, &fragment(&of_rule(TABLE, 4, 1, 1), [0, 3]));
        assert_eq!((tally.ledger().fragments, tally.ledger().not_dropped()), (2, 0));
        add(&mut tally, &of_rule("a", 4, 8, 2));
        add(&mut tally, &of_rule("a", 4, 9, 0));
        let expected = TraceLedger { marked: 2, by_rules: 1, fragments: 1, ..TraceLedger::default() };
        assert_eq!((tally.ledger(), tally.ledger().not_dropped()), (expected, 0));
    }

    #[test]
    fn fragments_that_a_rule_drops_are_packets() {
        let filter = Filter::parse("udp port 9").unwrap();
        let mut tally = Tally::new(Some(&filter));
        for (id, offset) in [(3, [0x20, 0]), (4, [0, 3])] {
            add(&mut tally, &fragment(&of_rule(TABLE, id, 1, 1), offset));
            add(&mut tally, &fragment(&of_rule("a", id, 9, 0), offset));
        }
        let expected = TraceLedger { marked: 2, by_rules: 1, filtered: 1, ..TraceLedger::default() };
        assert_eq!(tally.ledger(), expected);
    }

    /// The message with other bits of the fragment in the header of IPv4.
    fn fragment(payload: &[u8], bits: [u8; 2]) -> Vec<u8> {
        let mut payload = payload.to_vec();
        let at = payload.windows(NETWORK.len()).position(|window| window == NETWORK).unwrap();
        payload[at + 6..at + 8].copy_from_slice(&bits);
        payload
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
