//! The counters of all network namespaces of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::thread::{CapabilitySet, capabilities};

use super::Rise;
use super::namespace::Namespace;
use super::survey::Survey;
use super::values::Names;
use crate::explain::Counters;
use crate::identity::netns::Namespaces;

/// The greatest number of namespaces whose counters are kept, those that ended included.
const MOST_NAMESPACES: usize = 1000;
/// The greatest number of names in a sentence.
const MOST_NAMES: usize = 3;

/// The readings so far.
#[derive(Debug)]
pub(super) struct State {
    proc: PathBuf,
    /// Only this namespace is read; absent for all.
    only: Option<u32>,
    names: Names,
    by_inode: Namespaces,
    namespaces: BTreeMap<u32, Namespace>,
    ended: Vec<Namespace>,
    is_first: bool,
    appeared: u32,
    left_out: u32,
    unreadable: u32,
    without_process: Vec<Arc<str>>,
}

impl State {
    pub(super) fn new(proc: PathBuf, counters: &Counters, only: Option<u32>) -> Self {
        Self {
            proc,
            only,
            names: Names::of(counters),
            by_inode: Namespaces::new(),
            namespaces: BTreeMap::new(),
            ended: vec![],
            is_first: true,
            appeared: 0,
            left_out: 0,
            unreadable: 0,
            without_process: vec![],
        }
    }

    /// Reads all counters.
    pub(super) fn read(&mut self) {
        let survey = Survey::of(&self.proc, self.only);
        self.read_known(&survey);
        self.left_out = 0;
        for (inum, found) in &survey.found {
            if self.namespaces.contains_key(inum) {
                continue;
            }
            if self.namespaces.len() + self.ended.len() >= MOST_NAMESPACES {
                self.left_out += 1;
                continue;
            }
            let name = self.by_inode.name(*inum);
            if let Some(namespace) = Namespace::first_seen(&self.proc, &self.names, *inum, name, found) {
                self.namespaces.insert(*inum, namespace);
                self.appeared += u32::from(!self.is_first);
            }
        }
        self.unreadable = survey.unreadable;
        let was_read = |inum| self.namespaces.contains_key(&inum) || self.ended.iter().any(|ended| ended.inum == inum);
        self.without_process = survey
            .without_process(&mut self.by_inode, |inum| self.only.is_none_or(|only| only == inum) && !was_read(inum));
        self.is_first = false;
    }

    /// Reads the known namespaces again. Those that are not recognised have ended, or cannot be told from others.
    fn read_known(&mut self, survey: &Survey) {
        let known = std::mem::take(&mut self.namespaces);
        for (inum, mut namespace) in known {
            let found = survey.found.get(&inum).map_or(&[][..], Vec::as_slice);
            if namespace.read(&self.proc, &self.names, found) {
                self.namespaces.insert(inum, namespace);
            } else {
                self.ended.push(namespace);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.values().chain(&self.ended)
    }

    /// The counters that rose.
    pub(super) fn rises(&self) -> Vec<Rise> {
        let of = |namespace: &Namespace| {
            let (netns, netns_name) = (namespace.inum, namespace.name.clone());
            let named = |(slot, rise)| Rise {
                counter: Arc::clone(&self.names.0[slot]),
                netns,
                netns_name: netns_name.clone(),
                rise,
            };
            namespace.rises().map(named).collect::<Vec<_>>()
        };
        self.all().filter(|namespace| namespace.is_compared()).flat_map(of).collect()
    }

    /// The number of namespaces with a first and a later reading.
    pub(super) fn compared(&self) -> u32 {
        u32::try_from(self.all().filter(|namespace| namespace.is_compared()).count()).unwrap_or(u32::MAX)
    }

    /// What was not read or cannot be compared, in sentences without a full stop.
    pub(super) fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if !self.without_process.is_empty() {
            let names = listed(&self.without_process);
            gaps.push(format!("the counters of {names} are not read: no process was found in the namespace"));
        } else if let Some(only) = self.only.filter(|_| self.all().next().is_none()) {
            gaps.push(format!("the counters of netns {only} are not read, because no readable process is in it"));
        }
        let count =
            |count: u32, what: &str| format!("{count} network namespace{} {what}", if count == 1 { "" } else { "s" });
        if self.appeared > 0 {
            gaps.push(count(
                self.appeared,
                "had a first process during the run: counters are compared from their first reading on",
            ));
        }
        let ended = u32::try_from(self.ended.len()).unwrap_or(u32::MAX);
        if ended > 0 {
            gaps.push(count(
                ended,
                "lost the last process, or ended: counters are compared up to the last reading before",
            ));
        }
        if self.left_out > 0 {
            gaps.push(count(self.left_out, &format!("left out: at most {MOST_NAMESPACES} are read")));
        }
        if self.unreadable > 0 && self.only.is_none() {
            let processes =
                if self.unreadable == 1 { "1 process".into() } else { format!("{} processes", self.unreadable) };
            let remedy = if may_trace() { "" } else { ": that takes CAP_SYS_PTRACE" };
            gaps.push(format!("the network namespaces of {processes} cannot be read{remedy}"));
        }
        gaps.extend(self.all().flat_map(|namespace| self.fallen(namespace)));
        gaps
    }

    fn fallen(&self, namespace: &Namespace) -> Vec<String> {
        let netns = namespace.name.as_ref().map_or_else(|| namespace.inum.to_string(), ToString::to_string);
        let fell = |slot: &usize| format!("{} of netns {netns} fell, so its rise is unknown", self.names.0[*slot]);
        namespace.fallen().iter().map(fell).collect()
    }
}

/// Whether this thread has the capability that reading the namespaces of all processes takes. A security module, or
/// another user namespace, may refuse it all the same.
fn may_trace() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

/// `netns a, b, c and 2 more`.
fn listed(names: &[Arc<str>]) -> String {
    let (first, rest) = names.split_at(names.len().min(MOST_NAMES));
    let mut text = format!("netns {}", first.join(", "));
    if !rest.is_empty() {
        _ = write!(text, " and {} more", rest.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_namespace_is_read_and_recognised() {
        let own = crate::identity::netns::own().unwrap();
        let counters = Counters::built_in().unwrap();
        let mut state = State::new("/proc".into(), &counters, Some(own));
        state.read();
        assert_eq!((state.compared(), state.namespaces.len()), (0, 1));
        state.read();
        assert_eq!((state.compared(), state.ended.len()), (1, 0));
        assert!(state.gaps().iter().all(|gap| !gap.contains("not read")), "{:?}", state.gaps());
    }

    #[test]
    fn namespace_without_a_process_is_a_gap() {
        let counters = Counters::built_in().unwrap();
        let mut state = State::new("/proc".into(), &counters, Some(1));
        state.read();
        let gaps = state.gaps();
        assert!(gaps[0].starts_with("the counters of netns 1 are not read"), "{gaps:?}");
    }

    #[test]
    fn names_beyond_the_first_are_counted() {
        let names: Vec<Arc<str>> = ["a", "b", "c", "d", "e"].map(Arc::from).to_vec();
        assert_eq!(listed(&names), "netns a, b, c and 2 more");
        assert_eq!(listed(&names[..1]), "netns a");
    }
}
