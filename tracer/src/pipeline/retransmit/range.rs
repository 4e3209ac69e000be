//! Ranges of sequence numbers, which count modulo 2^32.

/// Sequence numbers of a segment, of which there is at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first number.
    pub(crate) start: u32,
    /// How many numbers.
    pub(crate) length: u32,
}

impl Range {
    /// The longest range of which the distance to another one has a sign.
    const MOST: u32 = 1 << 30;

    /// Absent for an empty range, and for one that no segment has.
    pub(crate) fn new(start: u32, length: u32) -> Option<Self> {
        (1..=Self::MOST).contains(&length).then_some(Self { start, length })
    }

    /// The parts of this range before and behind `other`; `None` if the two have no number in common.
    pub(crate) fn without(self, other: Self) -> Option<[Option<Self>; 2]> {
        let start = i64::from(other.start.wrapping_sub(self.start).cast_signed());
        let end = start + i64::from(other.length);
        let length = i64::from(self.length);
        if end <= 0 || start >= length {
            return None;
        }
        let part = |from: i64, to: i64| {
            let (from, to) = (u32::try_from(from).ok()?, u32::try_from(to).ok()?);
            Self::new(self.start.wrapping_add(from), to.checked_sub(from)?)
        };
        Some([part(0, start), part(end, length)])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn numbers(range: Range) -> HashSet<u32> {
        (0..range.length).map(|at| range.start.wrapping_add(at)).collect()
    }

    fn ranges() -> impl Strategy<Value = Range> {
        (any::<bool>(), 0..60_u32, 1..30_u32).prop_map(|(wraps, start, length)| {
            let start = if wraps { start.wrapping_sub(30) } else { start };
            Range::new(start, length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_difference_of_sets(own in ranges(), other in ranges()) {
            let left: HashSet<u32> = numbers(own).difference(&numbers(other)).copied().collect();
            match own.without(other) {
                None => prop_assert_eq!(left, numbers(own)),
                Some(parts) => {
                    let parts: Vec<u32> = parts.into_iter().flatten().flat_map(numbers).collect();
                    prop_assert!(parts.len() < numbers(own).len());
                    prop_assert_eq!(parts.len(), left.len());
                    prop_assert_eq!(parts.into_iter().collect::<HashSet<_>>(), left);
                }
            }
        }
    }

    #[test]
    fn no_segment_is_empty_or_endless() {
        assert_eq!(Range::new(5, 0), None);
        assert_eq!(Range::new(5, u32::MAX), None);
    }
}
