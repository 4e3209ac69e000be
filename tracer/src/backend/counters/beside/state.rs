//! The counters of all network namespaces of a run.

mod gaps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::held::{Held, held};
use super::namespace::{Member, Namespace, REFUSED, Reader};
use super::softnet::Softnet;
use super::survey::Survey;
use super::values::Names;
use super::{Key, NetnsKey, READINGS_KEPT, Readings, Rise};
use crate::identity::netns::{NamedFile, Namespaces, visit_each};
use crate::kernel::clock::thread_time;
use crate::netlink::{Room, link_counter_names};

/// The greatest number of namespaces whose counters are kept, those that ended included.
const MOST_NAMESPACES: usize = 1000;

/// The number of readings of which one looks at all threads and open files, too.
const THREADS_EVERY: u32 = 16;

/// The readings so far.
#[derive(Debug)]
pub(super) struct State {
    reader: Reader,
    /// Only this namespace is read; absent for all.
    only: Option<u32>,
    by_inode: Namespaces,
    softnet: Softnet,
    namespaces: BTreeMap<u32, Namespace>,
    ended: Vec<Namespace>,
    /// For the counters of drivers; absent where there is no memory for it.
    room: Option<Room>,
    readings: u32,
    /// The number of namespaces that were read so far.
    numbers: u32,
    /// Namespaces and interfaces that are gone are forgotten after some readings.
    is_endless: bool,
    /// The processor time that other threads took for the last reading.
    pub(super) elsewhere: Duration,
    appeared: u32,
    left_out: u32,
    unreadable: u32,
    /// The files that stood for namespaces at the last pass over all open files, and at the last reading.
    held: Held,
    /// Namespaces that were found and not read.
    without_process: Vec<(u32, Arc<str>)>,
}

impl State {
    pub(super) fn new(proc: PathBuf, names: Names, only: Option<u32>, is_endless: bool) -> Self {
        Self {
            reader: Reader::new(proc, names),
            only,
            by_inode: Namespaces::new(),
            softnet: Softnet::default(),
            namespaces: BTreeMap::new(),
            ended: vec![],
            room: Room::new().ok(),
            readings: 0,
            numbers: 0,
            is_endless,
            elsewhere: Duration::ZERO,
            appeared: 0,
            left_out: 0,
            unreadable: 0,
            held: Held::new(),
            without_process: vec![],
        }
    }

    /// Reads all counters.
    pub(super) fn read(&mut self) {
        let is_thorough = self.readings.is_multiple_of(THREADS_EVERY);
        let survey = Survey::of(&self.reader.proc, self.only, is_thorough);
        self.read_known(&survey);
        if self.only.is_none() {
            // Of a single namespace, only a part of what these count could be compared.
            self.softnet.read(&self.reader.proc);
        }
        self.left_out = 0;
        self.look_for_files(is_thorough);
        self.renew_files(is_thorough);
        for (inum, found) in &survey.found {
            if !self.namespaces.contains_key(inum) {
                let (name, files) = (self.by_inode.name(*inum), self.files(*inum));
                self.add(*inum, name, found, files);
            }
        }
        self.unreadable = survey.unreadable;
        self.read_named(&survey);
        self.read_held(&survey);
        self.read_links();
        self.readings += 1;
        if self.is_endless {
            self.forget();
        }
    }

    /// Forgets the namespaces and the interfaces that have been gone for some readings.
    fn forget(&mut self) {
        let now = self.readings;
        self.ended.retain(|namespace| now.saturating_sub(namespace.ended_at) < READINGS_KEPT);
        for namespace in self.namespaces.values_mut() {
            namespace.links.forget();
        }
    }

    /// Reads the interfaces of all namespaces that this process may enter.
    fn read_links(&mut self) {
        let Self { reader, namespaces, room, .. } = self;
        for namespace in namespaces.values_mut() {
            namespace.lacks_links = true;
        }
        let proc = reader.proc.as_path();
        let mut taken = Duration::ZERO;
        let read = |namespace: &mut Namespace| {
            namespace.lacks_links = namespace.links.read(room.as_mut()).is_err();
            // The thread does nothing else.
            taken = thread_time();
        };
        let entered = visit_each(namespaces.values_mut(), |namespace| namespace.open(proc), read);
        self.elsewhere = taken;
        if let Err(error) = entered {
            tracing::warn!("the counters of interfaces are not read: {error}");
        }
    }

    fn is_wanted(&self, inum: u32) -> bool {
        self.only.is_none_or(|only| only == inum) && !self.namespaces.contains_key(&inum)
    }

    /// Reads the namespaces that have a name and no process, as far as this process may enter them.
    fn read_named(&mut self, survey: &Survey) {
        self.without_process.clear();
        for (inum, name) in survey.without_process(&mut self.by_inode) {
            let files = if self.is_wanted(inum) { self.files(inum) } else { continue };
            if !self.add(inum, Some(Arc::clone(&name)), &[], files) {
                self.without_process.push((inum, name));
            }
        }
    }

    /// Looks for the files that stand for namespaces: the mounts, and in a thorough reading the open files of processes.
    fn look_for_files(&mut self, is_thorough: bool) {
        if is_thorough {
            self.held.clear();
        }
        self.held.extend(held(&self.reader.proc, is_thorough));
    }

    /// Gives the known namespaces the files that stand for them now: some come after the first reading, others are closed.
    fn renew_files(&mut self, is_thorough: bool) {
        let is_due = |namespace: &&Namespace| is_thorough || !namespace.has_files();
        for inum in self.namespaces.values().filter(is_due).map(|namespace| namespace.inum).collect::<Vec<_>>() {
            let files = self.files(inum);
            if let Some(namespace) = self.namespaces.get_mut(&inum).filter(|_| !files.is_empty()) {
                namespace.take_files(files);
            }
        }
    }

    /// Reads the namespaces that only a mount elsewhere, or an open file of a process, holds.
    fn read_held(&mut self, survey: &Survey) {
        for inum in self.held.keys().copied().collect::<Vec<_>>() {
            let is_named = self.without_process.iter().any(|(named, _)| *named == inum);
            let is_other = self.is_wanted(inum) && !is_named && !survey.found.contains_key(&inum);
            let files = if is_other { self.files(inum) } else { continue };
            if !files.is_empty() && !self.add(inum, None, &[], files) {
                self.without_process.push((inum, inum.to_string().into()));
            }
        }
    }

    /// The files that stand for a namespace. A process in it may be there for a moment only, as one that reads its counters;
    /// a file may be open only for as long.
    fn files(&mut self, inum: u32) -> Vec<NamedFile> {
        let named = self.by_inode.file(inum);
        let held = self.held.get(&inum).into_iter().flatten();
        named.into_iter().chain(held.filter_map(|path| NamedFile::standing_for(path, inum))).collect()
    }

    /// Reads a namespace for the first time, if there is room for it. Returns whether it was read.
    fn add(&mut self, inum: u32, name: Option<Arc<str>>, found: &[Member], files: Vec<NamedFile>) -> bool {
        if self.namespaces.len() + self.ended.len() >= MOST_NAMESPACES {
            self.left_out += 1;
            return false;
        }
        let Some(mut namespace) = Namespace::first_seen(&mut self.reader, inum, name, found, files) else {
            return false;
        };
        self.numbers = self.numbers.saturating_add(1);
        namespace.number = self.numbers;
        self.namespaces.insert(inum, namespace);
        self.appeared += u32::from(self.readings > 0);
        true
    }

    /// Reads the known namespaces again. Those that are not recognised have ended, or cannot be distinguished from others.
    fn read_known(&mut self, survey: &Survey) {
        let known = std::mem::take(&mut self.namespaces);
        for (inum, mut namespace) in known {
            let found = survey.found.get(&inum).map_or(&[][..], Vec::as_slice);
            if namespace.read(&mut self.reader, found) {
                self.namespaces.insert(inum, namespace);
            } else {
                namespace.ended_at = self.readings;
                self.ended.push(namespace);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.values().chain(&self.ended)
    }

    /// What the readings show so far.
    pub(super) fn readings(&self) -> Readings {
        let named = |slot: usize| Arc::clone(&self.reader.names.all[slot]);
        let slots = 0..self.reader.names.all.len();
        let present = slots.filter(|slot| self.namespaces.values().any(|namespace| namespace.has(*slot))).map(named);
        Readings {
            number: self.readings,
            rises: self.rises().into_iter().chain(self.softnet.rises()).chain(self.rises_of_links()).collect(),
            namespaces: self.compared(),
            gaps: self.gaps(),
            read: self.namespaces.values().map(Namespace::key).collect(),
            names: self.all().filter_map(|namespace| Some((namespace.key(), namespace.name.clone()?))).collect(),
            interfaces: self.namespaces.values().flat_map(interfaces).collect(),
            present: present.chain(self.softnet.present()).chain(self.present_of_links()).collect(),
            fallen: self.all().flat_map(fallen_of_links).collect(),
            mentioned: self.all().map(|namespace| namespace.inum).chain(self.unread()).collect(),
        }
    }

    /// The namespaces of which a gap says that they were not read.
    fn unread(&self) -> impl Iterator<Item = u32> {
        self.without_process.iter().map(|(inum, _)| *inum).chain(self.only)
    }

    /// The counters that rose.
    fn rises(&self) -> Vec<Rise> {
        let of = |namespace: &Namespace| {
            let named = |(slot, rise)| {
                let counter = Arc::clone(&self.reader.names.all[slot]);
                let listeners = if *counter == *REFUSED { namespace.listeners() } else { None };
                let ((netns, netns_number), netns_name) = (namespace.key(), namespace.name.clone());
                let listeners = listeners.unwrap_or_default();
                Rise { counter, netns, netns_number, netns_name, rise, listeners, ..Rise::default() }
            };
            namespace.rises().map(named).collect::<Vec<_>>()
        };
        self.all().filter(|namespace| namespace.is_compared()).flat_map(of).collect()
    }

    /// The counters of interfaces that rose.
    fn rises_of_links(&self) -> impl Iterator<Item = Rise> {
        self.all().flat_map(|namespace| {
            let ((netns, netns_number), netns_name) = (namespace.key(), &namespace.name);
            let with_netns = move |rise| Rise { netns, netns_number, netns_name: netns_name.clone(), ..rise };
            namespace.links.rises().into_iter().map(with_netns)
        })
    }

    /// The counters that some interface has.
    fn present_of_links(&self) -> impl Iterator<Item = Arc<str>> {
        let has = |slot| self.namespaces.values().any(|namespace| namespace.links.has(slot));
        link_counter_names().into_iter().enumerate().filter(move |(slot, _)| has(*slot)).map(|(_, name)| name.into())
    }

    /// The number of namespaces with a first and a later reading.
    pub(super) fn compared(&self) -> u32 {
        u32::try_from(self.all().filter(|namespace| namespace.is_compared()).count()).unwrap_or(u32::MAX)
    }
}

/// The interfaces of a namespace.
fn interfaces(namespace: &Namespace) -> impl Iterator<Item = (NetnsKey, u32)> {
    let netns = namespace.key();
    namespace.links.present().filter(|_| !namespace.lacks_links).map(move |ifindex| (netns, ifindex))
}

fn fallen_of_links(namespace: &Namespace) -> impl Iterator<Item = Key> {
    namespace.links.fallen().map(|(name, ifindex)| (name.into(), namespace.key(), ifindex))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::counters::beside::Which;
    use crate::explain::Counters;

    fn state(only: u32) -> State {
        State::new("/proc".into(), Names::of(&Counters::built_in().unwrap(), Which::Compared), Some(only), false)
    }

    #[test]
    fn own_namespace_is_read_and_recognised() {
        let own = crate::identity::netns::own().unwrap();
        let mut state = state(own);
        state.read();
        assert_eq!((state.compared(), state.namespaces.len()), (0, 1));
        state.read();
        assert_eq!((state.compared(), state.ended.len()), (1, 0));
        let readings = state.readings();
        assert_eq!((readings.read, readings.fallen), (vec![(own, 1)], vec![]));
        assert!(readings.present.iter().any(|name| **name == *"UdpNoPorts"), "{:?}", readings.present);
        assert!(state.gaps().iter().all(|gap| !gap.contains("not read")), "{:?}", state.gaps());
    }

    #[test]
    fn file_that_comes_later_stands_for_the_namespace() {
        let own = crate::identity::netns::own().unwrap();
        let mut state = state(own);
        state.read();
        state.namespaces.get_mut(&own).unwrap().take_files(vec![]);
        let file = std::fs::File::open("/proc/self/ns/net").unwrap();
        let mut child =
            std::process::Command::new("sleep").arg("60").stdin(std::process::Stdio::from(file)).spawn().unwrap();
        state.readings = THREADS_EVERY;
        state.read();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(state.namespaces[&own].has_files(), "the standard input of the child");
    }

    #[test]
    fn namespace_without_a_process_is_a_gap() {
        let mut state = state(1);
        state.read();
        let gaps = state.gaps();
        assert!(gaps[0].starts_with("the counters of netns 1 are not read"), "{gaps:?}");
    }

    /// An inode number is used again at once: the namespace that has it now begins anew, and has a number of its own.
    #[test]
    fn counters_that_fell_are_those_of_another_namespace() {
        let own = crate::identity::netns::own().unwrap();
        let mut state = state(own);
        state.read();
        state.read();
        state.namespaces.get_mut(&own).unwrap().pretend_greater();
        state.read();
        assert_eq!((state.namespaces.len(), state.ended.len()), (1, 1));
        assert_eq!(state.readings().read, [(own, 2)]);
        state.read();
        let rises = state.rises();
        assert!(rises.iter().all(|rise| rise.rise < 1_000_000), "{rises:?}");
        assert_eq!(state.compared(), 2);
    }

    /// A namespace without a process that has the inode number of one that ended is read as well.
    #[test]
    fn inode_number_of_an_ended_namespace_is_wanted_again() {
        let own = crate::identity::netns::own().unwrap();
        let mut state = state(own);
        state.read();
        assert!(!state.is_wanted(own), "the namespace is there");
        state.reader.proc = "/nowhere".into();
        state.read();
        assert!(state.is_wanted(own) && !state.is_wanted(own + 1));
    }

    #[test]
    fn endless_run_forgets_namespaces_that_are_gone() {
        let own = crate::identity::netns::own().unwrap();
        for (is_endless, kept) in [(true, 0), (false, 1)] {
            let mut state = state(own);
            state.is_endless = is_endless;
            state.read();
            // Nothing is found there any more.
            state.reader.proc = "/nowhere".into();
            state.read();
            assert_eq!(state.ended.len(), 1);
            for _ in 1..READINGS_KEPT {
                state.read();
            }
            assert_eq!(state.ended.len(), kept);
        }
    }
}
