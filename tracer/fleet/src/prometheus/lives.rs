//! The lives of an agent's processes within a window, and from which states of its counters its growth adds up.

use super::promql::Window;
use super::series::Point;

/// A process, as far as the engine heard of it within the window. Times are in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Life {
    /// When it began, by its own clock. It is what tells it from others.
    pub(super) start: f64,
    /// When the engine first heard of it.
    pub(super) first: f64,
    /// When the engine last heard of it.
    pub(super) last: f64,
}

/// A state of an agent's counters that is added, or taken away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// When.
    pub(super) at: f64,
    /// Added, or taken away.
    pub(super) is_added: bool,
}

/// Adds what one series told: the start of a process at each time.
pub(super) fn add(lives: &mut Vec<Life>, points: &[Point]) {
    for &Point { at, value: start } in points {
        match lives.iter_mut().rev().find(|life| same(life.start, start)) {
            Some(life) => (life.first, life.last) = (life.first.min(at), life.last.max(at)),
            None => lives.push(Life { start, first: at, last: at }),
        }
    }
}

/// Whether both are the same constant, which went through text on its way.
#[expect(clippy::float_cmp, reason = "the same text is the same number")]
fn same(one: f64, other: f64) -> bool {
    one == other
}

/// The states, and for how many seconds of the window they tell. `before` are processes that the engine had just heard
/// of when the window began.
///
/// Each process grew from what it stood at when the window began, or from 0 if it began later, to what the engine heard
/// last. Of one that is older than the window, but that the engine heard of within the window for the first time, it
/// cannot be known what it counted earlier: then the first that was heard is where it is counted from.
pub(super) fn states(lives: &[Life], before: &[f64], window: Window) -> (Vec<State>, f64) {
    let begin = window.begin();
    let (mut states, mut seconds) = (Vec::new(), 0.0);
    for life in lives {
        states.push(State { at: life.last, is_added: true });
        let from = if before.iter().any(|&start| same(start, life.start)) {
            Some(begin)
        } else {
            (life.start < begin).then_some(life.first)
        };
        states.extend(from.map(|at| State { at, is_added: false }));
        seconds += (life.last - from.unwrap_or(life.start)).max(0.0);
    }
    (states, seconds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn point(at: f64, value: f64) -> Point {
        Point { at, value }
    }

    #[test]
    fn processes_are_told_apart_by_their_start() {
        let mut lives = Vec::new();
        add(&mut lives, &[point(100.0, 5.0), point(110.0, 5.0), point(120.0, 115.5)]);
        // The same process under other labels.
        add(&mut lives, &[point(130.0, 115.5), point(140.0, 115.5)]);
        let first = Life { start: 5.0, first: 100.0, last: 110.0 };
        assert_eq!(lives, [first, Life { start: 115.5, first: 120.0, last: 140.0 }]);
    }

    #[test]
    fn where_each_is_counted_from() {
        let window = Window { end: 200.0, length: Duration::from_secs(100) };
        let life = |start, first, last| Life { start, first, last };
        let added = |at| State { at, is_added: true };
        let taken = |at| State { at, is_added: false };
        // It ran when the window began, and ended.
        assert_eq!(states(&[life(5.0, 101.0, 150.0)], &[5.0], window), (vec![added(150.0), taken(100.0)], 50.0));
        // It began within the window.
        assert_eq!(states(&[life(120.0, 125.0, 200.0)], &[], window), (vec![added(200.0)], 80.0));
        // It is older, and was heard of late.
        assert_eq!(states(&[life(5.0, 130.0, 200.0)], &[], window), (vec![added(200.0), taken(130.0)], 70.0));
        // One after another.
        let both = [life(5.0, 101.0, 150.0), life(155.0, 160.0, 190.0)];
        assert_eq!(states(&both, &[5.0], window), (vec![added(150.0), taken(100.0), added(190.0)], 85.0));
        assert_eq!(states(&[], &[5.0], window), (vec![], 0.0));
    }
}
