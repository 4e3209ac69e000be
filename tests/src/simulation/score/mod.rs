//! Compares findings with the truth.
//!
//! A finding makes a claim for each host that it names, or a single claim if it names a group. A claim is about a
//! reason. Findings without a reason, or without hosts and group, are not judged.
//!
//! | claim | planted | verdict |
//! |---|---|---|
//! | host, reason | a fault of this host in this reason | right |
//! | host, reason | a fault of a group with this host in this reason | a part of the group |
//! | group, reason | a fault, in this reason, of a group whose hosts are nearly the same ([`SAME`]) | right |
//! | group, reason | a fault, in this reason, of a host of the group, and the group is small ([`SMALL`]) | right |
//! | host or nearly the same group, reason | a restart or a deployment changed this reason there | an event |
//! | anything else | | wrong |
//!
//! A second claim about the same fault is a repetition. The fault of a group is found if a claim about the group is
//! right, or if claims name half of the hosts that it changed. Parts, repetitions and events are true statements that
//! were not asked for: precision is the share of right ones among right and wrong ones, and the strict precision counts
//! all others as wrong.

mod curve;
mod read;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::truth::{Event, Fault, Truth};

pub use curve::{Point, curve};
pub use read::read_findings;
pub use table::print;

/// Two groups are nearly the same if this share of the hosts in one of them, or both, is in both.
pub const SAME: f64 = 0.5;
/// A group of at most so many hosts leads to each of its hosts.
pub const SMALL: usize = 50;

/// A finding of a detector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// The detector's name for this kind of finding.
    pub kind: String,
    /// The reason of the drops.
    pub reason: Option<String>,
    /// The hosts that it names.
    pub hosts: Vec<String>,
    /// The group as `property=value`: several, separated by commas, are the hosts in all of them.
    pub group: Option<String>,
    /// The greater, the surer.
    pub score: Option<f64>,
}

/// What a claim is about.
#[derive(Clone, Debug, PartialEq)]
enum Subject {
    Host(String),
    Group(HashSet<String>),
}

/// A claim.
#[derive(Clone, Debug, PartialEq)]
struct Claim {
    subject: Subject,
    reason: String,
    score: Option<f64>,
}

/// The verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first to name a fault.
    Right,
    /// The fault was named before.
    Repetition,
    /// The claim names a host of a group with a fault.
    Part,
    /// The claim names a change that is not a fault.
    Event,
    /// Nothing was planted there.
    Wrong,
}

/// A judged claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The claim's score.
    pub score: Option<f64>,
    /// The faults that are found with this claim, and were not before.
    pub found: Vec<usize>,
    /// The claim in words: its reason, and its host or number of hosts.
    pub words: String,
}

/// All judged claims.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// The claims, those with the highest score first.
    pub claims: Vec<Judged>,
    /// Findings without a reason, or without hosts and group.
    pub not_judged: usize,
    /// Findings about groups that the truth does not know.
    pub unknown_groups: usize,
}

impl Score {
    /// The number of claims with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.claims.iter().filter(|claim| claim.verdict == verdict).count()
    }

    /// The faults that were found.
    pub fn found(&self) -> BTreeSet<usize> {
        self.claims.iter().flat_map(|claim| &claim.found).copied().collect()
    }

    /// The share of right claims among right and wrong ones; `None` without such claims.
    pub fn precision(&self) -> Option<f64> {
        let right = self.count(Verdict::Right);
        ratio(right, right + self.count(Verdict::Wrong))
    }

    /// The share of right claims among all.
    pub fn strict_precision(&self) -> Option<f64> {
        ratio(self.count(Verdict::Right), self.claims.len())
    }
}

/// `None` for a share of nothing.
fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| super::float(part) / super::float(whole))
}

/// Judges findings.
pub fn judge(truth: &Truth, findings: &[Finding]) -> Score {
    let mut score = Score::default();
    let mut claims = Vec::new();
    for finding in findings {
        let Some(reason) = &finding.reason else {
            score.not_judged += 1;
            continue;
        };
        let claim = |subject| Claim { subject, reason: reason.clone(), score: finding.score };
        match &finding.group {
            Some(group) => match members(truth, group) {
                Some(members) => claims.push(claim(Subject::Group(members))),
                None => score.unknown_groups += 1,
            },
            None if finding.hosts.is_empty() => score.not_judged += 1,
            None => claims.extend(finding.hosts.iter().map(|host| claim(Subject::Host(host.clone())))),
        }
    }
    // The order of claims with the same score stays.
    claims.sort_by(|one, other| other.score.unwrap_or(f64::MIN).total_cmp(&one.score.unwrap_or(f64::MIN)));
    let mut judge = Judge::new(truth);
    score.claims = claims.iter().map(|claim| judge.judge(claim)).collect();
    score
}

/// The reporting hosts of a group; `None` if the truth does not know the property, or no host has the value.
fn members(truth: &Truth, group: &str) -> Option<HashSet<String>> {
    let parts: Vec<_> = group.split(',').map(|part| part.trim().split_once('=')).collect::<Option<_>>()?;
    let has = |host: &super::HostFacts, name: &str, value: &str| match name {
        "role" => host.role == value,
        "rack" => host.rack == value,
        "kernel" => host.kernel == value,
        "zone" => host.zone == value,
        "driver" => host.driver == value,
        // The folders of snapshots are named after one of these, whose values are distinct.
        "folder" => [&host.role, &host.rack, &host.zone].into_iter().any(|known| known == value),
        _ => false,
    };
    let hosts = truth.hosts.values().filter(|host| host.reports);
    let hosts = hosts.filter(|host| parts.iter().all(|(name, value)| has(host, name, value)));
    let hosts: HashSet<_> = hosts.map(|host| host.host.clone()).collect();
    (!hosts.is_empty()).then_some(hosts)
}

/// The state of the judgement.
struct Judge<'t> {
    truth: &'t Truth,
    /// The hosts of each fault of a group.
    groups: HashMap<usize, HashSet<String>>,
    /// The hosts of each role with a deployment, by the group's name.
    deployed: HashMap<&'t str, HashSet<String>>,
    found: HashSet<usize>,
    /// Hosts that were named of each fault of a group.
    named: HashMap<usize, HashSet<String>>,
}

impl<'t> Judge<'t> {
    fn new(truth: &'t Truth) -> Self {
        let of_group = |fault: &Fault| Some((fault.id, members(truth, fault.group.as_ref()?)?));
        let of_event = |event: &'t Event| {
            let group = event.group.as_deref()?;
            Some((group, members(truth, group)?))
        };
        Self {
            truth,
            groups: truth.faults.iter().filter_map(of_group).collect(),
            deployed: truth.events.iter().filter_map(of_event).collect(),
            found: HashSet::new(),
            named: HashMap::new(),
        }
    }

    fn judge(&mut self, claim: &Claim) -> Judged {
        let (verdict, found) = match &claim.subject {
            Subject::Host(host) => self.of_host(host, &claim.reason),
            Subject::Group(members) => self.of_group(members, &claim.reason),
        };
        let words = match &claim.subject {
            Subject::Host(host) => format!("{} on {host}", claim.reason),
            Subject::Group(members) => format!("{} on a group of {} hosts", claim.reason, members.len()),
        };
        Judged { verdict, score: claim.score, found, words }
    }

    fn of_host(&mut self, host: &str, reason: &str) -> (Verdict, Vec<usize>) {
        let mut faults = self.truth.faults.iter().filter(|fault| fault.reason == reason);
        if let Some(fault) = faults.clone().find(|fault| fault.host.as_deref() == Some(host)) {
            return self.named_exactly(vec![fault.id]);
        }
        let holds = |fault: &&Fault| self.groups.get(&fault.id).is_some_and(|members| members.contains(host));
        if let Some(fault) = faults.find(holds) {
            return self.named_in_part(fault, host);
        }
        let is_event = |event: &Event| {
            let deployed = event.group.as_deref().and_then(|group| self.deployed.get(group));
            let is_deployed = deployed.is_some_and(|members| members.contains(host));
            event.reason == reason && (is_deployed || event.host.as_deref() == Some(host))
        };
        let is_event = self.truth.events.iter().any(is_event);
        (if is_event { Verdict::Event } else { Verdict::Wrong }, Vec::new())
    }

    fn of_group(&mut self, members: &HashSet<String>, reason: &str) -> (Verdict, Vec<usize>) {
        let faults = self.truth.faults.iter().filter(|fault| fault.reason == reason);
        let is_named = |fault: &&Fault| match (&fault.host, self.groups.get(&fault.id)) {
            (Some(host), _) => members.len() <= SMALL && members.contains(host),
            (None, Some(of_fault)) => is_same(members, of_fault),
            (None, None) => false,
        };
        let named: Vec<_> = faults.filter(is_named).map(|fault| fault.id).collect();
        if !named.is_empty() {
            return self.named_exactly(named);
        }
        let is_event = |event: &Event| {
            let deployed = event.group.as_deref().and_then(|group| self.deployed.get(group));
            event.reason == reason && deployed.is_some_and(|deployed| is_same(members, deployed))
        };
        let is_event = self.truth.events.iter().any(is_event);
        (if is_event { Verdict::Event } else { Verdict::Wrong }, Vec::new())
    }

    fn named_exactly(&mut self, faults: Vec<usize>) -> (Verdict, Vec<usize>) {
        let new: Vec<_> = faults.into_iter().filter(|fault| self.found.insert(*fault)).collect();
        (if new.is_empty() { Verdict::Repetition } else { Verdict::Right }, new)
    }

    fn named_in_part(&mut self, fault: &Fault, host: &str) -> (Verdict, Vec<usize>) {
        let named = self.named.entry(fault.id).or_default();
        if !named.insert(host.to_owned()) {
            return (Verdict::Repetition, Vec::new());
        }
        let is_found = 2 * named.len() >= fault.hosts && self.found.insert(fault.id);
        (Verdict::Part, if is_found { vec![fault.id] } else { Vec::new() })
    }
}

fn is_same(one: &HashSet<String>, other: &HashSet<String>) -> bool {
    let both = one.intersection(other).count();
    ratio(both, one.len() + other.len() - both).is_some_and(|share| share >= SAME)
}
