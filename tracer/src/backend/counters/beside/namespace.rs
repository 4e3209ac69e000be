//! The counters of one network namespace, from its first reading to its last.

use std::path::Path;
use std::sync::Arc;

use super::values::{Names, Values};
use crate::identity::proc_folder::Folder;

/// The greatest number of processes by which a namespace is recognised at its next reading.
const MOST_MEMBERS: usize = 8;

/// A process of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) pid: u32,
    /// The time at which the process started, in ticks since the boot (`/proc/PID/stat`).
    pub(super) started: u64,
}

impl Member {
    /// The open folder of the process, if it is still the same and in the namespace.
    fn still_in(self, proc: &Path, inum: u32) -> Option<Folder> {
        let folder = Folder::open(proc, self.pid)?;
        (folder.started() == Some(self.started) && folder.netns() == Ok(inum)).then_some(folder)
    }
}

/// A network namespace. An inode number stands for the namespace as long as one of the processes that were in it at the
/// last reading is still in it; otherwise another namespace may have the number.
#[derive(Clone, Debug)]
pub(super) struct Namespace {
    pub(super) inum: u32,
    pub(super) name: Option<Arc<str>>,
    first: Values,
    last: Values,
    readings: u32,
    /// The positions of counters that were once less than before.
    fell: Vec<usize>,
    members: Vec<Member>,
}

impl Namespace {
    /// Reads the counters for the first time, through one of the processes that were just found in the namespace.
    pub(super) fn first_seen(
        proc: &Path,
        names: &Names,
        inum: u32,
        name: Option<Arc<str>>,
        found: &[Member],
    ) -> Option<Self> {
        let first = read(proc, names, inum, found)?;
        let last = first.clone();
        Some(Self { inum, name, first, last, readings: 1, fell: vec![], members: found.to_vec() })
    }

    /// Reads the counters again. Returns whether the namespace was recognised.
    pub(super) fn read(&mut self, proc: &Path, names: &Names, found: &[Member]) -> bool {
        let Some(now) = read(proc, names, self.inum, &self.members) else { return false };
        self.take(now);
        self.members.retain(|member| found.contains(member));
        let further = found.iter().filter(|member| !self.members.contains(member)).copied().collect::<Vec<_>>();
        self.members.extend(further);
        self.members.truncate(MOST_MEMBERS);
        true
    }

    fn take(&mut self, now: Values) {
        for (slot, (value, before)) in now.iter().zip(&self.last).enumerate() {
            if value < before && !self.fell.contains(&slot) {
                self.fell.push(slot);
            }
        }
        self.readings += 1;
        self.last = now;
    }

    /// Whether there is a first and a later reading.
    pub(super) const fn is_compared(&self) -> bool {
        self.readings > 1
    }

    /// The positions of the counters that rose, and by how much. A counter that was once less than before, because it
    /// wrapped or somebody reset it, has no rise that could be known.
    pub(super) fn rises(&self) -> impl Iterator<Item = (usize, u64)> {
        let pairs = self.first.iter().zip(&self.last).enumerate();
        let risen = pairs.filter_map(|(slot, (first, last))| Some((slot, (*last)?.checked_sub((*first)?)?)));
        risen.filter(|(slot, rise)| *rise > 0 && !self.fell.contains(slot))
    }

    /// The positions of the counters that were once less than before.
    pub(super) fn fallen(&self) -> &[usize] {
        &self.fell
    }
}

/// Reads the counters through the first of the processes that is in the namespace before and after.
fn read(proc: &Path, names: &Names, inum: u32, members: &[Member]) -> Option<Values> {
    members.iter().find_map(|member| {
        let folder = member.still_in(proc, inum)?;
        let values = names.read(&folder)?;
        (folder.netns() == Ok(inum)).then_some(values)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(first: Values) -> Namespace {
        let last = first.clone();
        Namespace { inum: 7, name: None, first, last, readings: 1, fell: vec![], members: vec![] }
    }

    #[test]
    fn rise_is_that_from_the_first_reading_to_the_last() {
        let mut namespace = namespace(vec![Some(5), Some(0), None, Some(9)]);
        assert!(!namespace.is_compared());
        namespace.take(vec![Some(6), Some(0), None, Some(9)]);
        namespace.take(vec![Some(8), Some(1), Some(3), None]);
        assert!(namespace.is_compared());
        assert_eq!(namespace.rises().collect::<Vec<_>>(), [(0, 3), (1, 1)], "unknown values have no rise");
    }

    #[test]
    fn counter_that_fell_has_no_rise_even_if_it_is_greater_at_the_end() {
        let mut namespace = namespace(vec![Some(u64::from(u32::MAX)), Some(4)]);
        namespace.take(vec![Some(2), Some(5)]);
        namespace.take(vec![Some(u64::from(u32::MAX) + 9), Some(6)]);
        assert_eq!(namespace.rises().collect::<Vec<_>>(), [(1, 2)]);
        assert_eq!(namespace.fallen(), [0]);
    }
}
