//! The lives of an agent's processes within a window, and the states of its counters from which its increase is
//! computed.

use super::promql::Window;
use super::series::Point;

/// A process, as the engine has samples of it within the window. Times are in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Life {
    /// The start of the process by its own clock, which identifies the process.
    pub(super) start: f64,
    /// The time of the engine's first sample.
    pub(super) first: f64,
    /// The time of the engine's last sample.
    pub(super) last: f64,
}

/// A state of an agent's counters that is added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// The time of the state.
    pub(super) at: f64,
    /// Whether the state is added; otherwise it is subtracted.
    pub(super) is_added: bool,
}

/// Adds the points of one series: the start of a process at each time.
pub(super) fn add(lives: &mut Vec<Life>, points: &[Point]) {
    for &Point { at, value: start } in points {
        match lives.iter_mut().rev().find(|life| same(life.start, start)) {
            Some(life) => (life.first, life.last) = (life.first.min(at), life.last.max(at)),
            None => lives.push(Life { start, first: at, last: at }),
        }
    }
}

/// Returns whether both are the same constant, which was converted to text in between.
#[expect(clippy::float_cmp, reason = "the same text is the same number")]
fn same(one: f64, other: f64) -> bool {
    one == other
}

/// Returns the states, and the seconds of the window that they cover. `before` are processes of which the engine had
/// samples just before the window.
///
/// Each process counts from its value at the start of the window, or from 0 if it started later, to its last sample.
/// For a process that is older than the window, but has its first sample within the window, the earlier counts are
/// unknown: then it counts from its first sample.
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
    fn processes_are_distinguished_by_their_start() {
        let mut lives = Vec::new();
        add(&mut lives, &[point(100.0, 5.0), point(110.0, 5.0), point(120.0, 115.5)]);
        // The same process with other labels.
        add(&mut lives, &[point(130.0, 115.5), point(140.0, 115.5)]);
        let first = Life { start: 5.0, first: 100.0, last: 110.0 };
        assert_eq!(lives, [first, Life { start: 115.5, first: 120.0, last: 140.0 }]);
    }

    #[test]
    fn each_process_counts_from_its_known_start() {
        let window = Window { end: 200.0, length: Duration::from_secs(100) };
        let life = |start, first, last| Life { start, first, last };
        let added = |at| State { at, is_added: true };
        let taken = |at| State { at, is_added: false };
        // The process ran when the window began, and ended.
        assert_eq!(states(&[life(5.0, 101.0, 150.0)], &[5.0], window), (vec![added(150.0), taken(100.0)], 50.0));
        // The process started within the window.
        assert_eq!(states(&[life(120.0, 125.0, 200.0)], &[], window), (vec![added(200.0)], 80.0));
        // The process is older, and has late samples.
        assert_eq!(states(&[life(5.0, 130.0, 200.0)], &[], window), (vec![added(200.0), taken(130.0)], 70.0));
        // Two processes, one after another.
        let both = [life(5.0, 101.0, 150.0), life(155.0, 160.0, 190.0)];
        assert_eq!(states(&both, &[5.0], window), (vec![added(150.0), taken(100.0), added(190.0)], 85.0));
        assert_eq!(states(&[], &[5.0], window), (vec![], 0.0));
    }
}
