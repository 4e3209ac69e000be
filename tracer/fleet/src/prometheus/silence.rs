//! Hosts without samples, targets that do not answer, and machines with several agents.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::agents::AgentId;
use super::error::EngineError;
use super::gather::{FACTS, MACHINE, Reader, known};
use super::increase::Census;
use super::promql::Window;
use crate::model::Silence;

/// The label of [`FACTS`] with the name of a host.
const HOST: &str = "host";

/// The most agents of one machine that are named, and the most machines.
const NAMED: usize = 5;

/// The identity of a machine: machines that were cloned with their id have different names, and hosts with the same
/// name have different ids.
type Machine = (String, String);

impl Reader<'_> {
    /// Finds silent hosts.
    pub(super) fn silence(
        &mut self,
        window: Window,
        recent: &Census,
        earlier: Option<&Census>,
        baseline: Duration,
    ) -> Result<(), EngineError> {
        let end = Some(window.end);
        let Self { engine, scope, agents, .. } = self;
        let mut agents_in = |query: &str| -> Result<HashSet<_>, EngineError> {
            Ok(engine.query(query, end, |series| Some(agents.of(series)))?.into_iter().collect())
        };
        let down = agents_in(&scope.down(window.length + baseline))?;
        let speaks = agents_in(&scope.last_samples())?;
        let mut last =
            earlier.map_or_else(|| Ok(HashMap::new()), |census| census.last_samples(engine, scope, agents))?;
        last.extend(recent.last_samples(engine, scope, agents)?);
        let mut silent: Vec<_> = last.keys().chain(&down).copied().filter(|agent| !speaks.contains(agent)).collect();
        silent.sort_unstable();
        silent.dedup();
        let gone: HashSet<_> = silent.iter().copied().filter(|agent| !down.contains(agent)).collect();
        let machines = self.machines_of(&gone, window, baseline)?;
        // An agent whose machine reports through another agent has moved: to another port, or another name. It has not
        // moved if the engine still scrapes its target.
        let speaking: HashSet<_> = speaks.iter().filter_map(|agent| self.machine(*agent)).collect();
        silent.retain(|agent| {
            let was = machines.get(agent);
            was.is_none_or(|was| !was.iter().all(|(host, machine)| speaking.contains(&(host, machine))))
        });
        self.notes = self.of_one_machine(&speaks);
        for agent in silent {
            let last = last.get(&agent);
            let why = match (down.contains(&agent), last) {
                (true, Some(_)) => "its target is down",
                (true, None) => "its target is down, and had no sample in that time",
                (false, _) => "the engine has no recent samples of it, and no target for it",
            };
            let seconds = last.map(|last| window.end - last);
            self.host(agent, |host| host.silence = Some(Silence { seconds, why: why.to_owned() }));
        }
        Ok(())
    }

    /// The machines that these agents reported, also before the window; agents that reported no machine are left out.
    fn machines_of(
        &mut self,
        some: &HashSet<AgentId>,
        window: Window,
        baseline: Duration,
    ) -> Result<HashMap<AgentId, HashSet<Machine>>, EngineError> {
        let mut machines: HashMap<AgentId, HashSet<Machine>> = HashMap::new();
        if some.is_empty() {
            return Ok(machines);
        }
        let Self { engine, scope, agents, .. } = self;
        let found = engine.query(&scope.last(FACTS, window.length + baseline), Some(window.end), |series| {
            let agent = agents.of(series);
            let machine = known(series.label(MACHINE)).filter(|_| some.contains(&agent))?;
            Some((agent, (series.label(HOST).to_owned(), machine.to_owned())))
        })?;
        for (agent, machine) in found {
            machines.entry(agent).or_default().insert(machine);
        }
        Ok(machines)
    }

    /// Name and machine of an agent's host, if the agent reported them.
    fn machine(&self, agent: AgentId) -> Option<(&String, &String)> {
        let host = &self.fleet.hosts()[self.hosts.get(&agent)?.0 as usize];
        host.labels.get(HOST).zip(host.machine.as_ref())
    }

    /// Agents on the same machine, of those with samples: if they watch the same namespaces, each counts each drop.
    fn of_one_machine(&self, speaks: &HashSet<AgentId>) -> Vec<String> {
        let mut names: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (agent, host) in self.hosts.iter().filter(|(agent, _)| speaks.contains(agent)) {
            if let Some(machine) = self.machine(*agent) {
                names.entry(machine).or_default().push(&self.fleet.hosts()[host.0 as usize].name);
            }
        }
        let mut several: Vec<_> = names.into_values().filter(|names| names.len() > 1).collect();
        for names in &mut several {
            names.sort_unstable();
        }
        several.sort_unstable();
        let note = |names: &Vec<&str>| {
            let more = names.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let first = names[..names.len().min(NAMED)].join(", ");
            format!("{first}{more} run on the same machine: each may count its drops")
        };
        let more = several.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("and {more} more machines have several agents"));
        several.iter().take(NAMED).map(note).chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, ok};
    use super::super::gather::{Gathered, tests::gathered};
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    /// An agent: instance, host and machine.
    type Agent = (&'static str, &'static str, &'static str);

    /// An engine that had samples of some agents within the hour, of some before, of which some have samples now and
    /// some are down.
    #[derive(Clone, Copy)]
    struct Scene {
        now: &'static [Agent],
        before: &'static [Agent],
        speak: &'static [&'static str],
        down: &'static [&'static str],
    }

    const SCENE: Scene = Scene { now: &[], before: &[], speak: &[], down: &[] };

    fn gather(scene: Scene, baseline: Duration) -> Gathered {
        let fake = Fake::new(move |request| {
            let query = request.field("query").unwrap_or_default();
            let Scene { now, before, speak, down } = scene;
            let all = || [now, before].concat();
            let with = |names: &[&str]| all().into_iter().filter(|agent| names.contains(&agent.0)).collect::<Vec<_>>();
            let is_recent = request.field("time").as_deref() == Some("1000000000.000");
            let agents = match &*query {
                query if query.starts_with("min by (job,instance) (up") => with(down),
                query if query.starts_with("max by (job,instance) (timestamp(") && is_recent => with(speak),
                // The agents reported their facts no earlier than the window.
                query if query.starts_with("droptrace_host_info") && query.ends_with("[3600s])") => now.to_vec(),
                query if query.starts_with("droptrace_host_info") => all(),
                // The lives of processes.
                query
                    if query.starts_with("sum by (job,instance) (changes(")
                        || (query.starts_with("droptrace_start_time_seconds{") && query.ends_with("s]")) =>
                {
                    if is_recent { now.to_vec() } else { before.to_vec() }
                }
                _ => Vec::new(),
            };
            let labels: Vec<_> = agents
                .iter()
                .map(|(name, host, machine)| [("job", "d"), ("instance", name), ("host", host), ("machine", machine)])
                .collect();
            ok(&labels.iter().map(|labels| (&labels[..], 5.0)).collect::<Vec<_>>())
        });
        gathered(&fake, baseline).unwrap()
    }

    fn silent(gathered: &Gathered) -> Vec<&str> {
        let hosts = gathered.fleet.hosts().iter().filter(|host| host.silence.is_some());
        hosts.map(|host| host.name.as_str()).collect()
    }

    const THREE: &[Agent] = &[("h:1", "a", "m1"), ("h:2", "a", "m1"), ("h:3", "b", "m2")];

    #[test]
    fn agent_that_moved_is_not_silent() {
        let moved = gather(Scene { now: THREE, speak: &["h:2"], ..SCENE }, Duration::ZERO);
        assert_eq!((silent(&moved), &moved.notes), (vec!["h:3"], &vec![]));
        let gone = gather(Scene { now: THREE, speak: &["h:3"], ..SCENE }, Duration::ZERO);
        assert_eq!(silent(&gone), ["h:1", "h:2"]);
        assert_eq!(gone.fleet.find("h:1").unwrap().machine.as_deref(), Some("m1"));
        // No two hosts share this label, so that none are grouped by it.
        assert!(gone.fleet.hosts().iter().all(|host| !host.labels.contains_key("machine")));
    }

    #[test]
    fn agent_whose_target_is_down_is_silent() {
        let down = gather(Scene { now: THREE, speak: &["h:2", "h:3"], down: &["h:1"], ..SCENE }, Duration::ZERO);
        assert_eq!(silent(&down), ["h:1"]);
    }

    #[test]
    fn machines_that_were_cloned_with_their_id_are_two() {
        let clones: &[Agent] = &[("h:1", "a", "m1"), ("h:2", "b", "m1"), ("h:3", "c", "m1")];
        let one = gather(Scene { now: clones, speak: &["h:2", "h:3"], ..SCENE }, Duration::ZERO);
        assert_eq!((silent(&one), one.notes.len()), (vec!["h:1"], 0));
    }

    #[test]
    fn agent_that_moved_before_the_range_is_not_silent() {
        let scene = Scene { now: &[("h:2", "a", "m1")], before: &[("h:1", "a", "m1")], speak: &["h:2"], ..SCENE };
        assert_eq!(silent(&gather(scene, DAY)), [""; 0]);
        let other = Scene { now: &[("h:2", "a", "m1")], before: &[("h:1", "b", "m1")], speak: &["h:2"], ..SCENE };
        assert_eq!(silent(&gather(other, DAY)), ["h:1"]);
    }

    #[test]
    fn agents_of_one_machine_are_reported() {
        let both = gather(Scene { now: THREE, speak: &["h:1", "h:2", "h:3"], ..SCENE }, Duration::ZERO);
        assert_eq!(both.notes, ["h:1, h:2 run on the same machine: each may count its drops"]);
        let seven: &[Agent] = &[
            ("h:1", "a", "m1"),
            ("h:2", "a", "m1"),
            ("h:3", "a", "m1"),
            ("h:4", "a", "m1"),
            ("h:5", "a", "m1"),
            ("h:6", "a", "m1"),
            ("h:7", "a", "m1"),
        ];
        let speak = &["h:1", "h:2", "h:3", "h:4", "h:5", "h:6", "h:7"];
        let all = gather(Scene { now: seven, speak, ..SCENE }, Duration::ZERO);
        let expected = "h:1, h:2, h:3, h:4, h:5 and 2 more run on the same machine: each may count its drops";
        assert_eq!(all.notes, [expected]);
    }
}
