//! What the readings do not know, in sentences.

use std::fmt::Write as _;
use std::sync::Arc;

use rustix::thread::{CapabilitySet, capabilities};

use super::super::namespace::{Namespace, REFUSED};
use super::{MOST_NAMESPACES, State};

/// The greatest number of names in a sentence.
const MOST_NAMES: usize = 3;

impl State {
    /// What was not read or cannot be compared, in sentences without a full stop.
    pub(super) fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if !self.without_process.is_empty() {
            let names: Vec<_> = self.without_process.iter().map(|(_, name)| Arc::clone(name)).collect();
            let names = listed(&names);
            let remedy = if may(CapabilitySet::SYS_ADMIN) { "" } else { ", and entering it needs CAP_SYS_ADMIN" };
            gaps.push(format!("the counters of {names} are not read: no process was found in the namespace{remedy}"));
        } else if let Some(only) = self.only.filter(|_| self.all().next().is_none()) {
            gaps.push(format!("the counters of netns {only} are not read, because no readable process is in it, and no file stands for it"));
        }
        let count =
            |count: u32, what: &str| format!("{count} network namespace{} {what}", if count == 1 { "" } else { "s" });
        if self.appeared > 0 {
            gaps.push(count(
                self.appeared,
                "appeared during the run, or had a first process: counters are compared from their first reading on",
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
            let cause = if may(CapabilitySet::SYS_PTRACE) {
                "a security module forbids it"
            } else {
                "that needs CAP_SYS_PTRACE"
            };
            gaps.push(format!("the network namespaces of {processes} cannot be read: {cause}"));
        }
        let without = self.namespaces.values().filter(|namespace| namespace.lacks_links).count();
        if without > 0 {
            let remedy = if may(CapabilitySet::SYS_ADMIN) { "" } else { ": that needs CAP_SYS_ADMIN" };
            let what = format!("cannot be entered, so that the counters of interfaces are not read{remedy}");
            gaps.push(count(u32::try_from(without).unwrap_or(u32::MAX), &what));
        }
        gaps.extend(self.unknown_listeners());
        gaps.extend(self.fallen());
        gaps
    }

    /// The namespaces in which connections were refused by listening sockets that are not known.
    fn unknown_listeners(&self) -> Option<String> {
        let is_refused = |slot: usize| *self.reader.names.all[slot] == *REFUSED;
        let has_unknown = |namespace: &&Namespace| {
            namespace.listeners().is_none() && namespace.rises().any(|(slot, _)| is_refused(slot))
        };
        let name = |namespace: &Namespace| namespace.name.clone().unwrap_or_else(|| namespace.inum.to_string().into());
        let names: Vec<_> = self.all().filter(has_unknown).map(name).collect();
        let remedy = if may(CapabilitySet::SYS_ADMIN) { "" } else { ": that needs CAP_SYS_ADMIN" };
        (!names.is_empty())
            .then(|| format!("which listeners of {} refused connections is not known{remedy}", listed(&names)))
    }

    /// The interfaces whose counters are not known without a gap.
    fn fallen(&self) -> Option<String> {
        let of = |namespace: &Namespace| {
            let netns = namespace.name.as_ref().map_or_else(|| namespace.inum.to_string(), ToString::to_string);
            let in_netns = |interface: String| format!("{interface} in netns {netns}");
            namespace.links.with_a_fall().map(in_netns).collect::<Vec<_>>()
        };
        let interfaces: Vec<_> = self.all().flat_map(of).collect();
        let shown = interfaces.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = interfaces.len().checked_sub(MOST_NAMES).filter(|more| *more > 0);
        let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
        let why =
            "so that their rise is at least the one shown: the interface was replaced, or the counters began anew";
        (!interfaces.is_empty()).then(|| format!("some counters of {shown}{more} fell, {why}"))
    }
}

/// Whether this thread has a capability. A security module, or another user namespace, may refuse its use all the same.
fn may(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
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
    fn names_beyond_the_first_are_counted() {
        let names: Vec<Arc<str>> = ["a", "b", "c", "d", "e"].map(Arc::from).to_vec();
        assert_eq!(listed(&names), "netns a, b, c and 2 more");
        assert_eq!(listed(&names[..1]), "netns a");
    }
}
