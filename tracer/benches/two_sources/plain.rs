//! The plain method: a hash map of queues of observations that look alike, and a queue of all observations in order of
//! time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use droptrace_base::domain::dedupe::{AloneCause, Moment};
use droptrace_base::domain::event::Timestamp;
use tracer::pipeline::dedupe::{DedupeLimits, Fingerprint, Observation, SeenBy, SharedFacts, UniqueDrop, Unpairable};

type Key = (Fingerprint, u64, u32, u32);

struct Waiting {
    arrived: Moment,
    observation: Observation<u32>,
}

/// Joins as the pipeline does, without its memory bound.
pub struct Plain {
    limits: DedupeLimits,
    alike: HashMap<Key, VecDeque<Waiting>>,
    order: VecDeque<(Moment, Key)>,
}

impl Plain {
    /// Waits as long as `limits` say.
    pub fn new(limits: DedupeLimits) -> Self {
        Self { limits, alike: HashMap::new(), order: VecDeque::new() }
    }

    /// Does the same as `Deduper::take`.
    pub fn take(&mut self, now: Moment, observation: Observation<u32>, visit: &mut impl FnMut(&UniqueDrop<u32>)) {
        self.advance(now, visit);
        match observation.print {
            Ok(print) => self.join(now, print, observation, visit),
            Err(why) => visit(&alone(&observation, why)),
        }
    }

    fn join(
        &mut self,
        now: Moment,
        print: Fingerprint,
        observation: Observation<u32>,
        visit: &mut impl FnMut(&UniqueDrop<u32>),
    ) {
        let SharedFacts { pc, reason, length, timestamp, .. } = observation.drop;
        let key = (print, pc, reason, length);
        let queue = self.alike.entry(key).or_default();
        let partner = queue.front().filter(|other| {
            other.observation.origin != observation.origin
                && apart(other.observation.drop.timestamp, timestamp) <= self.limits.apart
        });
        if partner.is_some() {
            queue.pop_front();
            if queue.is_empty() {
                self.alike.remove(&key);
            }
            let seen_by = SeenBy::Both { ebpf: observation.detail, net_dm: observation.detail };
            return visit(&UniqueDrop { drop: observation.drop, seen_by });
        }
        queue.push_back(Waiting { arrived: now, observation });
        self.order.push_back((now, key));
    }

    fn advance(&mut self, now: Moment, visit: &mut impl FnMut(&UniqueDrop<u32>)) {
        while let Some((arrived, key)) = self.order.front().copied() {
            if u128::from(now.0 - arrived.0) <= self.limits.wait.as_nanos() {
                return;
            }
            self.order.pop_front();
            // Joined observations are still in the queue of all observations.
            let Some(queue) = self.alike.get_mut(&key) else { continue };
            if queue.front().is_some_and(|waiting| waiting.arrived == arrived)
                && let Some(waiting) = queue.pop_front()
            {
                if queue.is_empty() {
                    self.alike.remove(&key);
                }
                visit(&alone(&waiting.observation, Unpairable::TooFewBytes));
            }
        }
    }
}

fn alone(observation: &Observation<u32>, why: Unpairable) -> UniqueDrop<u32> {
    let Observation { origin, detail, drop, .. } = *observation;
    UniqueDrop { drop, seen_by: SeenBy::Alone { origin, detail, cause: AloneCause::from(why) } }
}

fn apart(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_nanos(one.0.abs_diff(other.0))
}
