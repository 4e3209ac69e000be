//! Findings of hosts that drop far more than their own past and their peers let expect.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::By;
use super::build::{Draft, figure, hosts};
use super::compare::{Basis, Comparisons, Discovery, Series};
use super::peers::Peers;
use super::view::{ByHost, ByKey, Cause, View, by_cause, per_host, sums};
use crate::finding::{Effect, Finding, Kind, Severity};
use crate::model::{Fleet, HostId, Key, KeyId};

/// The hosts that were found, by the reason by which they stand out.
pub(super) type Found<'f> = HashMap<Cause<'f>, HashSet<HostId>>;

/// The subject of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject<'f> {
    /// A reason, of all interfaces or of those of one class.
    Reason(Cause<'f>, Option<&'f str>),
    /// An aggregation key, one of several of its reason.
    Key(Key<'f>),
    /// All reasons together.
    All,
}

impl<'f> Subject<'f> {
    fn cause(self) -> Option<Cause<'f>> {
        match self {
            Self::Reason(cause, _) => Some(cause),
            Self::Key(key) => Some(Cause::of(key)),
            Self::All => None,
        }
    }
}

/// A host that may stand out, by a subject.
pub(super) type Probable<'f> = (Subject<'f>, Discovery);

/// The number of tests, and those whose probability is at most `most`.
pub(super) fn tests<'f>(view: &View<'f>, peers: &Peers<'_>, most: f64) -> (usize, Vec<Probable<'f>>) {
    let (mut all, mut probable) = (0, Vec::new());
    let mut add = |(tests, found): (usize, Vec<Probable<'f>>)| {
        all += tests;
        probable.extend(found);
    };
    add(by_reason(view, peers, most));
    add(by_key(view, peers, most));
    add(by_sum(view, peers, most));
    (all, probable)
}

fn probable<'f>(subjects: &[Subject<'f>], of: Comparisons, most: f64) -> (usize, Vec<Probable<'f>>) {
    let (tests, probable) = of.probable(most);
    (tests, probable.into_iter().map(|discovery| (subjects[discovery.of.series], discovery)).collect())
}

fn by_reason<'f>(view: &View<'f>, peers: &Peers<'_>, most: f64) -> (usize, Vec<Probable<'f>>) {
    let by_class = view.options.by.contains(&By::Class);
    let slices = |fleet: &'f Fleet| sums(fleet, |key: Key<'f>| Some((Cause::of(key), key.class.filter(|_| by_class))));
    let before = view.fleet.baseline.as_deref().map(slices).unwrap_or_default();
    let rows: Vec<_> = slices(view.fleet).into_iter().collect();
    let series = |at: usize| {
        let (slice, now) = &rows[at];
        Series { now: now.clone(), past: peers.past.row(before.get(slice)), level: true, peers: true }
    };
    let comparisons = Comparisons::of(peers, rows.len(), series);
    let subjects: Vec<_> = rows.iter().map(|((cause, class), _)| Subject::Reason(*cause, *class)).collect();
    probable(&subjects, comparisons, most)
}

/// Only keys of reasons that have several: another key would be the reason once more.
fn by_key<'f>(view: &View<'f>, peers: &Peers<'_>, most: f64) -> (usize, Vec<Probable<'f>>) {
    let mut several: HashMap<Cause<'_>, usize> = HashMap::new();
    for key in view.fleet.keys() {
        *several.entry(Cause::of(key)).or_default() += 1;
    }
    let now = ByKey::of(view.fleet);
    let before = view.fleet.baseline.as_deref().map(|baseline| {
        let keys: HashMap<_, _> = baseline.keys().zip((0..).map(KeyId)).collect();
        (ByKey::of(baseline), keys)
    });
    let keys = view.fleet.keys().zip((0..).map(KeyId));
    let keys: Vec<_> = keys.filter(|(key, _)| several.get(&Cause::of(*key)).is_some_and(|&it| it > 1)).collect();
    let series = |at: usize| {
        let (key, id) = keys[at];
        let past = before.as_ref().and_then(|(rows, keys)| Some(rows.row(*keys.get(&key)?)));
        Series { now: now.row(id), past: peers.past.row(past.as_ref()), level: true, peers: false }
    };
    let comparisons = Comparisons::of(peers, keys.len(), series);
    let subjects: Vec<_> = keys.iter().map(|(key, _)| Subject::Key(*key)).collect();
    probable(&subjects, comparisons, most)
}

fn by_sum<'f>(view: &View<'f>, peers: &Peers<'_>, most: f64) -> (usize, Vec<Probable<'f>>) {
    let now: ByHost = per_host(&view.causes).into_iter().collect();
    let past = view.fleet.baseline.as_deref().map(|baseline| per_host(&by_cause(baseline)).into_iter().collect());
    let past = peers.past.row(past.as_ref());
    let series = |_| Series { now: now.clone(), past: past.clone(), level: false, peers: true };
    probable(&[Subject::All], Comparisons::of(peers, 1, series), most)
}

/// Findings, and the hosts that they name. A host is found by a reason, else by a drop site, else by all reasons together.
/// That a host drops more for one of the `new` reasons than before is no finding of its own: no host had it before.
pub(super) fn outliers<'f>(
    view: &View<'f>,
    peers: &Peers<'_>,
    mut discoveries: Vec<Probable<'f>>,
    new: &HashSet<Cause<'f>>,
) -> (Vec<Finding>, Found<'f>) {
    let (mut found, mut seen) = (Found::new(), HashSet::new());
    let mut groups: BTreeMap<(Subject<'f>, Basis, Option<usize>), Vec<Discovery>> = BTreeMap::new();
    // A change since the past says more than a difference between hosts.
    discoveries.sort_by(|(one, this), (other, that)| {
        let (first, second) = ((rank(*one), this.of.basis), (rank(*other), that.of.basis));
        first.cmp(&second).then(this.probability.total_cmp(&that.probability)).then(one.cmp(other))
    });
    for (subject, discovery) in discoveries {
        let id = discovery.of.id;
        let cause = subject.cause().or_else(|| foremost_cause(view, id));
        if let Some(cause) = cause.filter(|cause| discovery.of.basis != Basis::Peers && new.contains(cause)) {
            found.entry(cause).or_default().insert(id);
            continue;
        }
        if !seen.insert((subject, id)) {
            continue;
        }
        let is_new = match subject {
            Subject::Reason(cause, _) => {
                found.entry(cause).or_default().insert(id);
                true
            }
            Subject::Key(key) => found.entry(Cause::of(key)).or_default().insert(id),
            Subject::All => !found.values().any(|hosts| hosts.contains(&id)),
        };
        if is_new {
            groups.entry((subject, discovery.of.basis, discovery.of.among.group)).or_default().push(discovery);
        }
    }
    let finding = |((subject, basis, group), hosts): ((_, _, Option<usize>), _)| {
        let group = group.map_or("", |group| peers.groups.names[group].as_str());
        Outliers { group, basis, hosts }.finding(view, subject)
    };
    (groups.into_iter().map(finding).collect(), found)
}

fn rank(subject: Subject<'_>) -> u8 {
    match subject {
        Subject::Reason(..) => 0,
        Subject::Key(_) => 1,
        Subject::All => 2,
    }
}

/// The most frequent reason of a host.
fn foremost_cause<'f>(view: &View<'f>, id: HostId) -> Option<Cause<'f>> {
    let of = |row: &ByHost| row.iter().find(|entry| entry.0 == id).map(|entry| entry.1);
    let reasons = view.causes.iter().filter(|(cause, _)| !cause.netlink);
    let known = reasons.filter_map(|(cause, row)| Some((*cause, of(row)?)));
    known.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(cause, _)| cause)
}

/// The hosts of a group that stand out by the same subject, on the same basis.
pub(super) struct Outliers<'g> {
    pub(super) group: &'g str,
    pub(super) basis: Basis,
    pub(super) hosts: Vec<Discovery>,
}

impl Outliers<'_> {
    fn finding(&self, view: &View<'_>, subject: Subject<'_>) -> Finding {
        let (cause, which) = match subject {
            Subject::Reason(cause, class) => (Some(cause), class.map(|class| format!(" at {class} interfaces"))),
            Subject::Key(key) => (Some(Cause::of(key)), Some(words(key))),
            Subject::All => (self.first().and_then(|first| foremost_cause(view, first.of.id)), None),
        };
        let (which, cause_name) = (which.unwrap_or_default(), cause.map_or_else(String::new, Cause::name));
        let (who, verb, than) = (hosts(self.hosts.len()), self.verb("drop"), self.than());
        let title = match subject {
            Subject::All if cause.is_some() => format!("{who} {verb} far more {than}, mostly for {cause_name}"),
            Subject::All => format!("{who} {verb} far more {than}"),
            _ => format!("{who} {verb} far more for {cause_name}{which} {than}"),
        };
        let mut draft = self.figures(Draft::new(Kind::Outlier, Severity::Warning, title), view, "dropped there");
        if let Subject::Key(key) = subject {
            draft = draft.symbol(key.symbol);
        }
        match cause {
            Some(cause) => draft.cause(view, cause).done(),
            None => draft.done(),
        }
    }

    /// Makes the finding for losses outside `kfree_skb` by one counter.
    pub(super) fn finding_by_counter(&self, view: &View<'_>, counter: &str) -> Finding {
        let (who, verb, than) = (hosts(self.hosts.len()), self.verb("lose"), self.than());
        let title = format!("{who} {verb} far more outside kfree_skb {than}: {counter}");
        self.figures(Draft::new(Kind::Outside, Severity::Warning, title), view, "lost there")
            .counter(view, counter)
            .done()
    }

    /// The host that is furthest from what is expected; of several, the first by name.
    fn first(&self) -> Option<&Discovery> {
        self.hosts.iter().max_by(|one, other| one.times.total_cmp(&other.times))
    }

    /// Adds the hosts and the evidence; `sum` names the packets of these hosts.
    fn figures(&self, draft: Draft, view: &View<'_>, sum: &'static str) -> Draft {
        let draft = draft.group(self.group.to_owned()).hosts(
            view,
            self.hosts.iter().map(|it| (it.of.id, view.rate(it.of.id, it.of.packets))),
            "packets/s",
        );
        let Some(first) = self.first() else { return draft };
        let q_value = self.hosts.iter().map(|it| it.q_value).fold(0.0, f64::max);
        let rate = |packets| view.rate(first.of.id, packets).unwrap_or_default();
        draft
            .evidence("foremost host", rate(first.of.packets), "packets/s")
            .evidence("expected there", rate(first.of.expected), "packets/s")
            .effect(Effect { times: first.times, at_least: first.at_least, at_most: first.at_most }, q_value)
            .evidence("compared", figure(first.of.among.hosts), "hosts")
            .evidence(sum, self.hosts.iter().map(|it| it.of.packets).sum(), "packets")
    }

    fn verb(&self, verb: &str) -> String {
        if self.hosts.len() == 1 { format!("{verb}s") } else { verb.to_owned() }
    }

    fn than(&self) -> String {
        let others = if self.group.is_empty() { "others".into() } else { format!("others with {}", self.group) };
        match self.basis {
            Basis::Past => format!("than before, unlike {others}"),
            Basis::Quiet => format!("than the few before, unlike {others}"),
            Basis::Peers => format!("than {others}"),
        }
    }
}

/// ` at udp_rcv (ipv6, bridge interfaces)`.
fn words(key: Key<'_>) -> String {
    let at = key.symbol.or(key.trap_group).map_or_else(String::new, |at| format!(" at {at}"));
    let class = key.class.map(|class| format!("{class} interfaces"));
    let further: Vec<_> = key.protocol.map(str::to_owned).into_iter().chain(class).collect();
    if further.is_empty() { at } else { format!("{at} ({})", further.join(", ")) }
}
