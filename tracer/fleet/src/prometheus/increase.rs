//! The exact increase of counters within a window.
//!
//! The increase is known for each process of an agent: the value when the engine last had a sample of it, less the
//! value at the start of the window. For agents that ran throughout, or that started and did not end, the engine
//! computes the difference in one query. The others, which were restarted, ended, or have late samples, are few: their
//! counters are queried by name and time.

use std::collections::{HashMap, HashSet};

use super::agents::{AgentId, Agents};
use super::client::Engine;
use super::error::EngineError;
use super::lives::{self, Life, State};
use super::promql::{Counter, Scope, TERM, Term, Window};
use super::series::Series;

/// The most agents or terms in one query, so that neither query nor answer becomes too large.
const AT_ONCE: usize = 48;

/// The times within a window at which agents ran.
#[derive(Debug)]
pub(super) struct Census {
    window: Window,
    /// The seconds of the window that each agent covers.
    pub(super) seconds: HashMap<AgentId, f64>,
    /// The time of the last sample of each remaining agent.
    last: HashMap<AgentId, f64>,
    /// The remaining agents, and the states from which their increase is computed.
    rest: Vec<(AgentId, Vec<State>)>,
}

/// One increase: the agent, the values of the labels, and the number. The number is negative only if the agent's
/// counters fell, or some of their series expired.
pub(super) type EachGrowth<'f> = dyn FnMut(AgentId, &[&str], f64) + 'f;

impl Census {
    /// Queries the times at which agents ran.
    pub(super) fn take(
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        window: Window,
    ) -> Result<Self, EngineError> {
        let mut taken = Self { window, seconds: HashMap::new(), last: HashMap::new(), rest: Vec::new() };
        let length = window.length;
        engine.query(&scope.covered(length), Some(window.end), &mut |series| {
            let seconds = window.end - series.value().max(window.begin());
            taken.seconds.insert(agents.of(series), seconds);
        })?;
        let mut rest = Vec::new();
        engine.query(&scope.processes(length), Some(window.end), &mut |series| {
            rest.push(agents.of(series));
        })?;
        rest.retain(|agent| !taken.seconds.contains_key(agent));
        rest.sort_unstable();
        for some in rest.chunks(AT_ONCE) {
            taken.examine(engine, scope, agents, some)?;
        }
        Ok(taken)
    }

    /// Queries each process of these agents.
    fn examine(
        &mut self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        some: &[AgentId],
    ) -> Result<(), EngineError> {
        let wanted: HashSet<_> = some.iter().copied().collect();
        let values: Vec<_> = some.iter().map(|&agent| agents.values(agent).to_vec()).collect();
        let named = values.iter().map(Vec::as_slice);
        let window = self.window;
        let mut before: HashMap<AgentId, Vec<f64>> = HashMap::new();
        engine.query(&scope.start_of(&named), Some(window.begin()), &mut |series| {
            before.entry(agents.of(series)).or_default().push(series.value());
        })?;
        let mut all: HashMap<AgentId, Vec<Life>> = HashMap::new();
        engine.query(&scope.lives(&named, window.length), Some(window.end), &mut |series| {
            lives::add(all.entry(agents.of(series)).or_default(), &series.points);
        })?;
        for (agent, lives) in all.into_iter().filter(|(agent, _)| wanted.contains(agent)) {
            let known = before.get(&agent).map_or(&[][..], Vec::as_slice);
            let (states, seconds) = lives::states(&lives, known, window);
            self.seconds.insert(agent, seconds);
            self.last.insert(agent, lives.iter().fold(f64::NEG_INFINITY, |last, life| last.max(life.last)));
            self.rest.push((agent, states));
        }
        // The order makes the queries the same each time.
        self.rest.sort_unstable_by_key(|(agent, _)| *agent);
        Ok(())
    }

    /// The times of the last samples of agents, in seconds since the Unix epoch.
    pub(super) fn last_heard(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
    ) -> Result<HashMap<AgentId, f64>, EngineError> {
        let mut last = self.last.clone();
        engine.query(&scope.heard(), Some(self.window.end), &mut |series| {
            last.entry(agents.of(series)).or_insert(series.value());
        })?;
        Ok(last)
    }

    /// Passes on the increase of a counter by agent and these labels.
    pub(super) fn growth(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        counter: &Counter<'_>,
        each: &mut EachGrowth<'_>,
    ) -> Result<(), EngineError> {
        let Counter { metric, more, labels } = *counter;
        let query = scope.growth(metric, more, labels, self.window.length);
        self.ask(engine, scope, agents, counter, &query, each)
    }

    /// Passes on the increase of all series of a counter together by agent, including those of expired keys.
    pub(super) fn whole_growth(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        metric: &str,
        each: &mut dyn FnMut(AgentId, f64),
    ) -> Result<(), EngineError> {
        let query = scope.whole_growth(metric, self.window.length);
        let counter = Counter { metric, more: "", labels: &[] };
        self.ask(engine, scope, agents, &counter, &query, &mut |agent, _, packets| each(agent, packets))
    }

    /// Uses this query for the agents whose difference the engine computes, and the states of the counter for the
    /// others.
    fn ask(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        counter: &Counter<'_>,
        query: &str,
        each: &mut EachGrowth<'_>,
    ) -> Result<(), EngineError> {
        engine.query(query, Some(self.window.end), &mut |series| {
            each(agents.of(series), &values(series, counter.labels), series.value());
        })?;
        let mut some: Vec<(AgentId, State)> = Vec::new();
        for (agent, states) in &self.rest {
            some.extend(states.iter().map(|state| (*agent, *state)));
            if some.len() >= AT_ONCE {
                self.add_up(engine, scope, agents, counter, &some, each)?;
                some.clear();
            }
        }
        if some.is_empty() { Ok(()) } else { self.add_up(engine, scope, agents, counter, &some, each) }
    }

    /// Either all states of an agent are among `some`, or none.
    fn add_up(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        counter: &Counter<'_>,
        some: &[(AgentId, State)],
        each: &mut EachGrowth<'_>,
    ) -> Result<(), EngineError> {
        let Counter { metric, more, labels } = *counter;
        let terms: Vec<_> =
            some.iter().map(|(agent, state)| Term { at: state.at, agent: agents.values(*agent) }).collect();
        let query = scope.states(metric, more, labels, &terms);
        let mut sums: HashMap<(AgentId, Vec<String>), f64> = HashMap::new();
        engine.query(&query, Some(self.window.end), &mut |series| {
            // A term that was not queried has no meaning.
            let Some((agent, state)) = series.label(TERM).parse().ok().and_then(|index: usize| some.get(index)) else {
                return;
            };
            let place = labels.iter().map(|label| series.label(label).to_owned()).collect();
            let value = if state.is_added { series.value() } else { -series.value() };
            *sums.entry((*agent, place)).or_default() += value;
        })?;
        for ((agent, place), sum) in sums {
            each(agent, &place.iter().map(String::as_str).collect::<Vec<_>>(), sum);
        }
        Ok(())
    }
}

fn values<'s>(series: &'s Series, labels: &[&str]) -> Vec<&'s str> {
    labels.iter().map(|label| series.label(label)).collect()
}
