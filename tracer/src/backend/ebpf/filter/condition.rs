//! Conditions on the facts of a drop that the kernel program knows, as numbers.

use std::mem::offset_of;
use std::ops::RangeInclusive;

use tracer_common::{CpuState, DropKey};

use super::assembler::{Assembler, Bits, EQUAL, GREATER_OR_EQUAL, LESS, LESS_OR_EQUAL, Label, Register, Source, Width};

/// The register with the address of [`CpuState`].
pub(super) const STATE: Register = Register::R8;

/// An offset in [`CpuState`], as loads take it.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "checked when it is compiled")]
pub(super) const fn state_offset(at: usize) -> i16 {
    const { assert!(size_of::<CpuState>() < i16::MAX as usize) };
    at as i16
}

/// A fact of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// [`DropKey::location`].
    Location,
    /// [`DropKey::netns`].
    Netns,
    /// [`DropKey::cgroup_id`].
    Cgroup,
    /// [`DropKey::ifindex`].
    Interface,
    /// [`DropKey::reason`].
    Reason,
    /// [`DropKey::kind`].
    Kind,
    /// The two words of [`CpuState::interface`].
    InterfaceName,
    InterfaceNameEnd,
    /// [`CpuState::user`].
    User,
}

impl Fact {
    /// The position in [`CpuState`], and the size.
    const fn position(self) -> (usize, Width) {
        let of_key = offset_of!(CpuState, dropped.key);
        let (at, width) = match self {
            Self::Location => (of_key + offset_of!(DropKey, location), Width::Double),
            Self::Netns => (of_key + offset_of!(DropKey, netns), Width::Double),
            Self::Cgroup => (of_key + offset_of!(DropKey, cgroup_id), Width::Double),
            Self::Interface => (of_key + offset_of!(DropKey, ifindex), Width::Word),
            Self::Reason => (of_key + offset_of!(DropKey, reason), Width::Word),
            Self::Kind => (of_key + offset_of!(DropKey, kind), Width::Byte),
            Self::InterfaceName => (offset_of!(CpuState, interface), Width::Double),
            Self::InterfaceNameEnd => (offset_of!(CpuState, interface) + size_of::<u64>(), Width::Double),
            Self::User => (offset_of!(CpuState, user), Width::Double),
        };
        (at, width)
    }
}

/// A set of numbers: ranges in their order, which do not touch each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers(Vec<RangeInclusive<u64>>);

impl Numbers {
    /// All numbers of these ranges.
    pub(super) fn of(ranges: impl IntoIterator<Item = RangeInclusive<u64>>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// These numbers.
    pub(super) fn each(numbers: impl IntoIterator<Item = u64>) -> Self {
        Self::of(numbers.into_iter().map(|number| number..=number))
    }

    /// All numbers but these.
    pub(super) fn but(excluded: impl IntoIterator<Item = u64>) -> Self {
        Self::each(excluded).others()
    }

    /// All other numbers.
    pub(super) fn others(self) -> Self {
        let mut start = Some(0);
        let mut ranges = vec![];
        for range in self.0 {
            let Some(first) = start else { break };
            if let Some(before) = range.start().checked_sub(1) {
                ranges.push(first..=before);
            }
            start = range.end().checked_add(1);
        }
        ranges.extend(start.map(|first| first..=u64::MAX));
        Self::of(ranges)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has_all(&self) -> bool {
        self.0 == [0..=u64::MAX]
    }
}

/// A condition: holds if all checks of one of the alternatives hold. Each check says which numbers a fact may have.
/// Without alternatives, it never holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Condition(Vec<Vec<(Fact, Numbers)>>);

impl Condition {
    /// Never holds.
    pub(super) const NEVER: Self = Self(Vec::new());

    /// The fact is one of the numbers.
    pub(super) fn is(fact: Fact, numbers: Numbers) -> Self {
        Self::NEVER.or(vec![(fact, numbers)])
    }

    /// As before, or all of these checks hold. Checks that decide nothing are left out, because verifiers refuse code
    /// that cannot be reached.
    pub(super) fn or(mut self, mut checks: Vec<(Fact, Numbers)>) -> Self {
        if !self.can_fail() || checks.iter().any(|(_, numbers)| numbers.is_empty()) {
            return self;
        }
        checks.retain(|(_, numbers)| !numbers.has_all());
        if checks.is_empty() {
            return Self(vec![checks]);
        }
        self.0.push(checks);
        self
    }

    /// Whether it can hold.
    pub(super) const fn can_hold(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether it can fail.
    pub(super) fn can_fail(&self) -> bool {
        !self.0.iter().any(Vec::is_empty)
    }

    /// Writes the code: jumps to one of the labels.
    pub(super) fn assemble(&self, to: &mut Assembler, yes: Label, no: Label) {
        let Some((last, others)) = self.0.split_last() else { return to.jump(no) };
        for alternative in others {
            let next = to.label();
            assemble_all(alternative, to, yes, next);
            to.bind(next);
        }
        assemble_all(last, to, yes, no);
    }
}

/// Writes the checks of one alternative.
fn assemble_all(checks: &[(Fact, Numbers)], to: &mut Assembler, yes: Label, no: Label) {
    let Some(((fact, numbers), before)) = checks.split_last() else { return to.jump(yes) };
    for (fact, numbers) in before {
        let next = to.label();
        assemble(*fact, numbers, to, next, no);
        to.bind(next);
    }
    assemble(*fact, numbers, to, yes, no);
}

fn assemble(fact: Fact, numbers: &Numbers, to: &mut Assembler, yes: Label, no: Label) {
    let (at, width) = fact.position();
    to.load(width, Register::R1, STATE, state_offset(at));
    search(&numbers.0, to, yes, no);
}

/// Searches the number in R1 in ranges: by halves while there are many.
fn search(ranges: &[RangeInclusive<u64>], to: &mut Assembler, yes: Label, no: Label) {
    /// So many ranges are compared one after the other.
    const FEW: usize = 4;
    if ranges.len() > FEW {
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let in_upper = to.label();
        if let Some(first) = upper.first() {
            compare(GREATER_OR_EQUAL, *first.start(), to, in_upper);
        }
        search(lower, to, yes, no);
        to.bind(in_upper);
        return search(upper, to, yes, no);
    }
    for range in ranges {
        if range.start() == range.end() {
            compare(EQUAL, *range.start(), to, yes);
            continue;
        }
        // The ranges are in order: a number below this one is in none of the next ones.
        if *range.start() > 0 {
            compare(LESS, *range.start(), to, no);
        }
        if *range.end() == u64::MAX {
            return to.jump(yes);
        }
        compare(LESS_OR_EQUAL, *range.end(), to, yes);
    }
    to.jump(no);
}

/// Jumps to `label` if the comparison of R1 with a number holds.
fn compare(comparison: u8, number: u64, to: &mut Assembler, label: Label) {
    let source = if let Ok(short) = i32::try_from(number) {
        Source::Immediate(short.cast_unsigned())
    } else {
        to.number(Register::R2, number);
        Source::Of(Register::R2)
    };
    to.jump_if(Bits::B64, comparison, Register::R1, source, label);
}

#[cfg(test)]
impl Condition {
    /// Whether the condition holds for the current drop of a state.
    pub(super) fn holds(&self, state: &CpuState) -> bool {
        let key = &state.dropped.key;
        let value = |fact| match fact {
            Fact::Location => key.location,
            Fact::Netns => key.netns,
            Fact::Cgroup => key.cgroup_id,
            Fact::Interface => key.ifindex.into(),
            Fact::Reason => key.reason.into(),
            Fact::Kind => key.kind.into(),
            Fact::InterfaceName => state.interface[0],
            Fact::InterfaceNameEnd => state.interface[1],
            Fact::User => state.user,
        };
        let contains = |(fact, numbers): &(Fact, Numbers)| numbers.0.iter().any(|range| range.contains(&value(*fact)));
        self.0.iter().any(|checks| checks.iter().all(contains))
    }
}
