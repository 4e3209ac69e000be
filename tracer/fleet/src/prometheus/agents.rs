//! Agents in the answers of an engine, by number.

use std::collections::HashMap;

use super::series::Series;
use crate::model::Full;

/// An agent: its index in [`Agents::names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AgentId(u32);

/// All agents in the answers.
#[derive(Debug)]
pub(super) struct Agents {
    labels: Vec<String>,
    values: Vec<Box<[String]>>,
    by_values: HashMap<Box<[String]>, AgentId>,
    /// Number of agents with the same `instance`.
    shared: HashMap<String, usize>,
    /// Names that were given out: they stay, whichever agents are added later.
    named: HashMap<AgentId, String>,
    /// The most agents.
    bound: usize,
    /// Whether there were more agents.
    is_full: bool,
}

impl Agents {
    /// An empty list of agents, which are identified by these labels, and of which at most this many are kept.
    pub(super) fn new(labels: &[String], bound: usize) -> Self {
        let (by_values, shared, named) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { labels: labels.to_vec(), values: Vec::new(), by_values, shared, named, bound, is_full: false }
    }

    /// Returns whether there was room for all agents.
    pub(super) fn check(&self) -> Result<(), Full> {
        if self.is_full { Err(Full { what: "hosts", bound: self.bound }) } else { Ok(()) }
    }

    /// Returns the agent of a series. Beyond the limit it is an arbitrary agent, which [`Self::check`] later reports.
    pub(super) fn of(&mut self, series: &Series) -> AgentId {
        let values: Box<[String]> = self.labels.iter().map(|label| series.label(label).to_owned()).collect();
        if let Some(&agent) = self.by_values.get(&values) {
            return agent;
        }
        if self.values.len() >= self.bound {
            self.is_full = true;
            return AgentId(0);
        }
        let agent = AgentId(u32::try_from(self.values.len()).expect("fewer agents than memory has bytes"));
        *self.shared.entry(self.short(&values).to_owned()).or_default() += 1;
        self.values.push(values.clone());
        self.by_values.insert(values, agent);
        agent
    }

    /// Values of the labels that identify the agent.
    pub(super) fn values(&self, agent: AgentId) -> &[String] {
        &self.values[agent.0 as usize]
    }

    /// The agent's name: the value of `instance`, and its other labels if several agents have the same `instance`.
    pub(super) fn name(&mut self, agent: AgentId) -> String {
        if let Some(name) = self.named.get(&agent) {
            return name.clone();
        }
        let values = self.values(agent);
        let short = self.short(values);
        let is_alone = !short.is_empty() && self.shared.get(short) == Some(&1);
        let name = if is_alone { short.to_owned() } else { values.join("/") };
        self.named.insert(agent, name.clone());
        name
    }

    fn short<'v>(&self, values: &'v [String]) -> &'v str {
        &values[self.labels.iter().position(|label| label == "instance").unwrap_or(values.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(job: &str, instance: &str) -> Series {
        let (name, text) = ("job".len(), format!("job{job}instance{instance}"));
        let value = name + job.len();
        let ends = vec![(name, value), (value + "instance".len(), text.len())];
        Series { text, ends, points: Vec::new() }
    }

    #[test]
    fn names_are_short_where_they_can_be() {
        let mut agents = Agents::new(&["job".to_owned(), "instance".to_owned()], 5);
        let ids: Vec<_> = [("a", "x"), ("a", "y"), ("b", "y"), ("a", "x")]
            .into_iter()
            .map(|(job, instance)| agents.of(&series(job, instance)))
            .collect();
        assert_eq!(ids[0], ids[3]);
        let names = [ids[0], ids[1], ids[2]].map(|agent| agents.name(agent));
        assert_eq!(names, ["x", "a/y", "b/y"]);
        agents.of(&series("b", "x"));
        assert_eq!(agents.name(ids[0]), "x", "names stay");
        assert_eq!(agents.values(ids[2]), ["b", "y"]);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let mut agents = Agents::new(&["job".to_owned(), "instance".to_owned()], 2);
        for (instance, is_full) in [("x", false), ("y", false), ("x", false), ("z", true), ("x", true)] {
            agents.of(&series("a", instance));
            assert_eq!(agents.check().is_err(), is_full, "{instance}");
        }
        assert_eq!(agents.values.len(), 2);
    }
}
