//! Builds findings: their hosts and their text.

use droptrace_base::explain::{Usual, Values, fill};
use droptrace_base::render::number::Grouped;

use super::view::{Cause, View};
use crate::finding::{Effect, Figure, Finding, Kind, NamedHost, Severity, Subject};
use crate::model::HostId;

/// A finding under construction.
pub(super) struct Draft(Finding);

impl Draft {
    pub(super) fn new(kind: Kind, severity: Severity, title: String) -> Self {
        Self(Finding {
            severity,
            kind,
            title,
            reason: None,
            subsystem: None,
            symbol: None,
            owner: None,
            counter: None,
            group: None,
            hosts: Subject::default(),
            effect: None,
            q_value: None,
            evidence: Vec::new(),
            meaning: String::new(),
            next: Vec::new(),
        })
    }

    /// Sets the subject of the finding, with its explanation.
    pub(super) fn cause(mut self, view: &View<'_>, cause: Cause<'_>) -> Self {
        self.0.reason = cause.reason.map(str::to_owned);
        self.0.subsystem = cause.subsystem.map(str::to_owned);
        if let Some((_, explanation)) = view.explain(cause) {
            let usual = explanation.usual.map_or("unknown", Usual::name);
            self.0.meaning = format!("{} Usual: {usual}. {}", explanation.meaning, explanation.because);
            self.0.next = commands(&explanation.next);
        }
        self
    }

    pub(super) fn symbol(mut self, symbol: Option<&str>) -> Self {
        self.0.symbol = symbol.map(str::to_owned);
        self
    }

    pub(super) fn owner(mut self, owner: &str) -> Self {
        self.0.owner = Some(owner.to_owned());
        self
    }

    /// Sets the counter of the finding, with its explanation.
    pub(super) fn counter(mut self, view: &View<'_>, name: &str) -> Self {
        self.0.counter = Some(name.to_owned());
        if let Some((_, counter)) = view.counters.as_ref().and_then(|counters| counters.get(name)) {
            self.0.meaning = format!("The counter counts {}. No drop shows these packets.", counter.meaning);
            self.0.next = commands(&counter.next);
        }
        self
    }

    pub(super) fn group(mut self, group: String) -> Self {
        self.0.group = (!group.is_empty()).then_some(group);
        self
    }

    /// Sets the hosts with their values, which are absent or finite: the greatest first.
    pub(super) fn hosts(
        mut self,
        view: &View<'_>,
        hosts: impl IntoIterator<Item = (HostId, Option<f64>)>,
        unit: &'static str,
    ) -> Self {
        let name = |(id, value)| (view.host(id).name.as_str(), value);
        self.0.hosts = subject(hosts.into_iter().map(name), unit, view.options.named);
        self
    }

    pub(super) fn named(mut self, subject: Subject) -> Self {
        self.0.hosts = subject;
        self
    }

    pub(super) fn evidence(mut self, what: &'static str, value: f64, unit: &'static str) -> Self {
        self.0.evidence.push(Figure { what, value, unit });
        self
    }

    /// Sets how much more is dropped than expected, and the share of wrong ones among findings as certain as this one.
    pub(super) fn effect(mut self, effect: Effect, q_value: f64) -> Self {
        (self.0.effect, self.0.q_value) = (Some(effect), Some(q_value));
        self.evidence("against what is expected", effect.times, "times")
            .evidence("at least", effect.at_least, "times")
            .evidence("at most", effect.at_most, "times")
            .evidence("q-value", q_value, "probability")
    }

    /// Sets the meaning of this kind of finding, which precedes the explanation of the reason.
    pub(super) fn means(mut self, meaning: &str) -> Self {
        let reason = std::mem::take(&mut self.0.meaning);
        self.0.meaning = if reason.is_empty() { meaning.to_owned() } else { format!("{meaning} {reason}") };
        self
    }

    /// Sets the commands to run, which precede those of the reason.
    pub(super) fn next(mut self, backends: &[&str]) -> Self {
        self.0.next.splice(0..0, backends.iter().map(|&backend| backend.to_owned()));
        self
    }

    pub(super) fn done(self) -> Finding {
        self.0
    }
}

/// The greatest first, then by name.
pub(super) fn subject<'n>(
    hosts: impl Iterator<Item = (&'n str, Option<f64>)>,
    unit: &'static str,
    named: usize,
) -> Subject {
    let mut hosts: Vec<_> = hosts.collect();
    let order = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    hosts.sort_by(|one, other| order(other.1).total_cmp(&order(one.1)).then_with(|| one.0.cmp(other.0)));
    let count = hosts.len();
    let named = hosts.into_iter().take(named);
    Subject { count, named: named.map(|(name, value)| NamedHost { name: name.to_owned(), value, unit }).collect() }
}

/// `1 host`, `2 hosts`.
pub(super) fn hosts(count: usize) -> String {
    if count == 1 { "1 host".into() } else { format!("{} hosts", Grouped(count as u64)) }
}

/// The severity of drops with this reason.
pub(super) fn severity(view: &View<'_>, cause: Cause<'_>) -> Severity {
    match view.explain(cause).map(|(_, explanation)| explanation.usual) {
        // Where the reason alone does not tell, most drops are usual.
        Some(None | Some(Usual::Often)) => Severity::Notice,
        _ => Severity::Warning,
    }
}

/// A number of items as a value.
#[expect(clippy::cast_precision_loss, reason = "hosts and keys of a fleet")]
pub(super) fn figure(count: usize) -> f64 {
    count as f64
}

/// The commands of an explanation. The values of single hosts are to be filled in.
fn commands(next: &[String]) -> Vec<String> {
    next.iter().map(|command| fill(command, &Values::default()).text).collect()
}
