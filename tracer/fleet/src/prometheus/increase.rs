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
use crate::names::{NameId, Names};

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

/// The increase of a counter by agent and labels.
#[derive(Debug, Default)]
pub(super) struct Growth {
    names: Names,
    rows: Vec<(AgentId, Box<[NameId]>, f64)>,
}

impl Growth {
    /// Each agent, the values of the labels, and the number. The number is negative only if the agent's counters fell, or
    /// some of their series expired.
    pub(super) fn rows(&self) -> impl Iterator<Item = (AgentId, Vec<&str>, f64)> {
        self.rows.iter().map(|(agent, labels, packets)| {
            (*agent, labels.iter().map(|label| self.names.resolve(*label)).collect(), *packets)
        })
    }
}

impl Census {
    /// Queries the times at which agents ran.
    pub(super) fn take(
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        window: Window,
    ) -> Result<Self, EngineError> {
        let (length, end) = (window.length, Some(window.end));
        let seconds = engine.query(&scope.covered(length), end, |series| {
            Some((agents.of(series), window.end - series.value().max(window.begin())))
        })?;
        let seconds = seconds.into_iter().collect();
        let mut taken = Self { window, seconds, last: HashMap::new(), rest: Vec::new() };
        let mut rest = engine.query(&scope.processes(length), end, |series| Some(agents.of(series)))?;
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
        let starts = engine
            .query(&scope.start_of(&named), Some(window.begin()), |series| Some((agents.of(series), series.value())))?;
        let mut before: HashMap<AgentId, Vec<f64>> = HashMap::new();
        for (agent, start) in starts {
            before.entry(agent).or_default().push(start);
        }
        let points = engine.query(&scope.lives(&named, window.length), Some(window.end), |series| {
            Some((agents.of(series), series.points.clone()))
        })?;
        let mut all: HashMap<AgentId, Vec<Life>> = HashMap::new();
        for (agent, points) in points {
            lives::add(all.entry(agent).or_default(), &points);
        }
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
    pub(super) fn last_samples(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
    ) -> Result<HashMap<AgentId, f64>, EngineError> {
        let mut last = self.last.clone();
        let samples = engine
            .query(&scope.last_samples(), Some(self.window.end), |series| Some((agents.of(series), series.value())))?;
        for (agent, at) in samples {
            last.entry(agent).or_insert(at);
        }
        Ok(last)
    }

    /// The increase of a counter by agent and these labels.
    pub(super) fn growth(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        counter: &Counter<'_>,
    ) -> Result<Growth, EngineError> {
        let Counter { metric, more, labels } = *counter;
        let query = scope.growth(metric, more, labels, self.window.length);
        self.ask(engine, scope, agents, counter, &query)
    }

    /// The increase of all series of a counter together by agent, including those of expired keys.
    pub(super) fn whole_growth(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &mut Agents,
        metric: &str,
    ) -> Result<Growth, EngineError> {
        let query = scope.whole_growth(metric, self.window.length);
        self.ask(engine, scope, agents, &Counter { metric, more: "", labels: &[] }, &query)
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
    ) -> Result<Growth, EngineError> {
        let mut names = Names::default();
        let rows = engine.query(query, Some(self.window.end), |series| {
            Some((agents.of(series), values(series, counter.labels, &mut names), series.value()))
        })?;
        let mut growth = Growth { names, rows };
        let mut some: Vec<(AgentId, State)> = Vec::new();
        for (agent, states) in &self.rest {
            some.extend(states.iter().map(|state| (*agent, *state)));
            if some.len() >= AT_ONCE {
                self.add_up(engine, scope, agents, counter, &some, &mut growth)?;
                some.clear();
            }
        }
        if !some.is_empty() {
            self.add_up(engine, scope, agents, counter, &some, &mut growth)?;
        }
        Ok(growth)
    }

    /// Either all states of an agent are among `some`, or none.
    fn add_up(
        &self,
        engine: &Engine,
        scope: &Scope,
        agents: &Agents,
        counter: &Counter<'_>,
        some: &[(AgentId, State)],
        growth: &mut Growth,
    ) -> Result<(), EngineError> {
        let Counter { metric, more, labels } = *counter;
        let terms: Vec<_> =
            some.iter().map(|(agent, state)| Term { at: state.at, agent: agents.values(*agent) }).collect();
        let query = scope.states(metric, more, labels, &terms);
        let Growth { names, rows } = growth;
        let found = engine.query(&query, Some(self.window.end), |series| {
            // A term that was not queried has no meaning.
            let (agent, state) = some.get(series.label(TERM).parse::<usize>().ok()?)?;
            let value = if state.is_added { series.value() } else { -series.value() };
            Some(((*agent, values(series, labels, names)), value))
        })?;
        let mut sums: HashMap<(AgentId, Box<[NameId]>), f64> = HashMap::new();
        for (key, value) in found {
            *sums.entry(key).or_default() += value;
        }
        rows.extend(sums.into_iter().map(|((agent, labels), sum)| (agent, labels, sum)));
        Ok(())
    }
}

fn values(series: &Series, labels: &[&str], names: &mut Names) -> Box<[NameId]> {
    labels.iter().map(|label| names.intern(series.label(label))).collect()
}
