//! The ledgers of the backends, as counters.

use std::collections::BTreeMap;

use super::model::{Family, Kind, Sample};
use crate::domain::ledger::{EventLedger, Ledger};
use crate::domain::report::SourceReport;

/// The ledgers. Their counts only rise: a number that becomes unknown keeps its last value.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    drops: BTreeMap<(&'static str, &'static str), u64>,
    events: BTreeMap<(&'static str, &'static str), u64>,
    loss_unknown: BTreeMap<&'static str, bool>,
}

impl Accounts {
    /// Adds the backends' counts since their start.
    pub(super) fn take(&mut self, reports: &[SourceReport]) {
        for SourceReport { ledger, .. } in reports {
            let source = ledger.source();
            let reported = drops(ledger);
            rise(&mut self.drops, source, &reported);
            self.loss_unknown.insert(source, reported.contains(&("lost", None)));
            if let Some(ledger) = ledger.events() {
                rise(&mut self.events, source, &events(ledger));
            }
        }
    }

    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        let family = |name, help, counts: &BTreeMap<_, _>| {
            let sample = |((source, account), count): (&(&str, &str), &u64)| {
                Sample::new([("backend", source), ("account", account)], *count)
            };
            Family { name, help, unit: None, kind: Kind::Counter, samples: counts.iter().map(sample).collect() }
        };
        let unknown = self.loss_unknown.iter();
        [
            family(
                "droptrace_ledger_drops",
                "Drops that the backend saw: accounted by drop site (unknown_netns: those among them on which a filter by \
                 network namespace could not decide), in overflow by reason only, filtered out, or lost",
                &self.drops,
            ),
            family("droptrace_ledger_events", "Events of single drops, by result", &self.events),
            Family {
                name: "droptrace_loss_unknown",
                help: "1 if more drops may have been lost than are counted, else 0",
                unit: None,
                kind: Kind::Gauge,
                samples: unknown.map(|(source, is)| Sample::new([("backend", source)], u64::from(*is))).collect(),
            },
        ]
        .into_iter()
        .filter(|family| !family.samples.is_empty())
    }
}

fn rise(
    counts: &mut BTreeMap<(&'static str, &'static str), u64>,
    source: &'static str,
    reported: &[(&'static str, Option<u64>)],
) {
    for (account, now) in reported.iter().filter_map(|(account, now)| Some((*account, (*now)?))) {
        let count = counts.entry((source, account)).or_default();
        *count = now.max(*count);
    }
}

/// `None` if the number cannot be known.
fn drops(ledger: &Ledger) -> [(&'static str, Option<u64>); 5] {
    let (accounted, overflow, lost) = match ledger {
        Ledger::Ebpf(ledger) => (ledger.accounted, ledger.overflow, Some(ledger.lost())),
        Ledger::NetDm(ledger) => (ledger.accounted, ledger.overflow, ledger.lost()),
        Ledger::Counters(ledger) => (ledger.counted, 0, None),
    };
    let unknown_netns = match ledger {
        Ledger::Ebpf(ledger) => Some(ledger.unknown_netns),
        Ledger::NetDm(_) | Ledger::Counters(_) => None,
    };
    [
        ("unknown_netns", unknown_netns),
        ("accounted", Some(accounted)),
        ("overflow", Some(overflow)),
        ("filtered", Some(ledger.filtered())),
        ("lost", lost),
    ]
}

fn events(ledger: &EventLedger) -> [(&'static str, Option<u64>); 6] {
    let EventLedger { offered, submitted, suppressed, ring_full, delivered, undecodable, .. } = *ledger;
    [
        ("offered", Some(offered)),
        ("submitted", Some(submitted)),
        ("suppressed", Some(suppressed)),
        ("ring_full", Some(ring_full)),
        ("delivered", Some(delivered)),
        ("undecodable", Some(undecodable)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::{CountersLedger, EbpfLedger, NetDmLedger};

    fn reported(accounts: &Accounts, family: &str) -> Vec<String> {
        let family = accounts.families().find(|each| each.name == family);
        let line = |sample: &Sample| {
            let labels: Vec<_> = sample.labels.iter().map(|(_, value)| &**value).collect();
            format!("{} {:?}", labels.join(" "), sample.value)
        };
        family.iter().flat_map(|family| &family.samples).map(line).collect()
    }

    fn report(ledger: Ledger) -> [SourceReport; 1] {
        [SourceReport { mode: "mode", ledger, held_back: vec![] }]
    }

    #[test]
    fn each_backend_has_the_same_ledger_metrics() {
        let mut accounts = Accounts::default();
        let ebpf = EbpfLedger { hits: 6, accounted: 1, overflow: 2, filtered: 3, missed: 4, ..EbpfLedger::default() };
        accounts.take(&report(Ledger::Ebpf(ebpf)));
        let counts = ["accounted Count(1)", "filtered Count(3)", "lost Count(4)", "overflow Count(2)"];
        let expected = [&counts[..], &["unknown_netns Count(0)"]].concat();
        let expected: Vec<_> = expected.iter().map(|line| format!("ebpf {line}")).collect();
        assert_eq!(reported(&accounts, "droptrace_ledger_drops"), expected);
        assert_eq!(reported(&accounts, "droptrace_loss_unknown"), ["ebpf Count(0)"]);
        assert!(reported(&accounts, "droptrace_ledger_events").is_empty());
        accounts = Accounts::default();
        accounts.take(&report(Ledger::Counters(CountersLedger { source: "counters", counted: 7 })));
        assert_eq!(reported(&accounts, "droptrace_ledger_drops")[0], "counters accounted Count(7)");
        assert_eq!(reported(&accounts, "droptrace_loss_unknown"), ["counters Count(1)"]);
    }

    #[test]
    fn loss_that_becomes_unknown_stays_counted() {
        let mut accounts = Accounts::default();
        let ledger = NetDmLedger {
            counts_losses: true,
            tail_drops: Some(30),
            socket_drops: Some(400),
            ..NetDmLedger::default()
        };
        accounts.take(&report(Ledger::NetDm(ledger)));
        accounts.take(&report(Ledger::NetDm(NetDmLedger { interruptions: 1, ..ledger })));
        assert!(reported(&accounts, "droptrace_ledger_drops").contains(&"net_dm lost Count(430)".to_owned()));
        assert_eq!(reported(&accounts, "droptrace_loss_unknown"), ["net_dm Count(1)"]);
    }

    #[test]
    fn events_are_counted_only_if_captured() {
        let mut accounts = Accounts::default();
        let events = EventLedger { offered: 9, suppressed: 2, submitted: 7, delivered: 7, ..EventLedger::default() };
        accounts.take(&report(Ledger::Ebpf(EbpfLedger { events: Some(events), ..EbpfLedger::default() })));
        assert!(reported(&accounts, "droptrace_ledger_events").contains(&"ebpf suppressed Count(2)".to_owned()));
    }
}
