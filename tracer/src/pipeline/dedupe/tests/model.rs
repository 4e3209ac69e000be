//! A plain model of the same rules: a list of all waiting observations, in order of arrival.

use super::*;

struct Waits {
    arrived: u64,
    observation: Observation<u64>,
    print: Fingerprint,
}

pub(super) struct Model {
    max: usize,
    now: u64,
    waiting: Vec<Waits>,
    pub(super) seen_by: Vec<SeenBy<u64>>,
}

impl Model {
    pub(super) fn new(max: usize) -> Self {
        Self { max, now: 0, waiting: Vec::new(), seen_by: Vec::new() }
    }

    fn alone(&mut self, observation: &Observation<u64>, cause: AloneCause) {
        self.seen_by.push(alone(observation.origin, observation.detail, cause));
    }

    pub(super) fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while self.waiting.first().is_some_and(|first| self.now - first.arrived > WAIT) {
            let first = self.waiting.remove(0);
            self.alone(&first.observation, AloneCause::Expired);
        }
    }

    pub(super) fn report(&mut self, now: u64, observation: Observation<u64>) {
        self.advance(now);
        let print = match observation.print {
            Ok(print) => print,
            Err(why) => return self.alone(&observation, why.into()),
        };
        let key = |of: &Observation<u64>| (of.drop.pc, of.drop.reason, of.drop.length);
        loop {
            let found = self.waiting.iter().position(|other| {
                other.observation.origin != observation.origin
                    && other.print == print
                    && key(&other.observation) == key(&observation)
            });
            let Some(found) = found else { break };
            let (waited, came) = (self.waiting[found].observation.drop.timestamp.0, observation.drop.timestamp.0);
            if waited.abs_diff(came) > APART && waited > came {
                return self.alone(&observation, AloneCause::Apart);
            }
            let other = self.waiting.remove(found).observation;
            if waited.abs_diff(came) > APART {
                self.alone(&other, AloneCause::Apart);
                continue;
            }
            let (one, two) = (observation.detail, other.detail);
            self.seen_by.push(if observation.origin == Origin::Ebpf { both(one, two) } else { both(two, one) });
            return;
        }
        if self.waiting.len() >= self.max.max(1) {
            let first = self.waiting.remove(0);
            self.alone(&first.observation, AloneCause::Evicted);
        }
        self.waiting.push(Waits { arrived: self.now, observation, print });
    }
}
