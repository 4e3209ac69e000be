//! What an engine knows of a fleet, for analysis.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::agents::{AgentId, Agents};
use super::client::Engine;
use super::error::EngineError;
use super::increase::{Census, Counter};
use super::promql::{NOW, Scope, Window};
use super::series::Series;
use crate::event::Timestamp;
use crate::fleet::model::{Bounds, Burst, Fleet, Host, HostId, Place, Silence};

const DROPS: &str = "droptrace_drops_total";
const FACTS: &str = "droptrace_host_info";
const BUILD: &str = "droptrace_build_info";
/// The label of [`FACTS`] that tells machines of one name apart.
const MACHINE: &str = "machine";
const SOURCE: &str = "droptrace_source_info";

/// What is known of a place, in the order of [`place`].
const PLACE: [&str; 6] = ["reason", "subsystem", "symbol", "module", "interface_class", "protocol"];

/// An agent reads its totals every few seconds; one that has not for so long tells old figures.
const OLD: Duration = Duration::from_mins(5);

/// The shortest while whose drops are looked at for a storm, as long as engines usually need to hear of it twice.
const SHORTEST_STORM: Duration = Duration::from_mins(1);

/// So many whiles are looked at for storms, if they are not too short then.
const WHILES: u32 = 60;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The end of the time that is looked at, in seconds since the Unix epoch; none: now, by the engine's clock.
    pub at: Option<f64>,
    /// How long that time is; whole seconds.
    pub range: Duration,
    /// How long the time before it is, which tells what is usual; zero: it is not looked at.
    pub baseline: Duration,
    /// Drops a second that may be a storm.
    pub storm_rate: f64,
}

/// What was told.
#[derive(Debug)]
pub struct Gathered {
    /// The fleet.
    pub fleet: Fleet,
    /// What whoever reads of it should know, in sentences.
    pub notes: Vec<String>,
    /// Answers that it took.
    pub answers: usize,
}

/// Asks all that there is to know.
pub fn gather(engine: &Engine, scope: &Scope, question: &Question) -> Result<Gathered, EngineError> {
    let end = question.at.map_or_else(|| now(engine), Ok)?;
    let range = Window { end, length: question.range };
    let baseline = range.before(question.baseline);
    let mut agents = Agents::new(scope.identity());
    refuse_duplicates(engine, scope, &mut agents, end)?;
    let recent = Census::take(engine, scope, &mut agents, range)?;
    let earlier = match question.baseline {
        Duration::ZERO => None,
        _ => Some(Census::take(engine, scope, &mut agents, baseline)?),
    };
    if recent.seconds.is_empty() && earlier.as_ref().is_none_or(|census| census.seconds.is_empty()) {
        let (url, matchers) = (engine.url().to_owned(), scope.matchers());
        return Err(EngineError::Nobody { url, matchers, within: question.range + question.baseline });
    }
    let mut reader = Reader::new(engine, scope, agents);
    reader.count(&recent, range)?;
    reader.facts(range)?;
    reader.storms(range, question.storm_rate)?;
    reader.silence(range, &recent, earlier.as_ref(), question.baseline)?;
    let Reader { agents, mut fleet, notes: of_one_machine, .. } = reader;
    if let Some(earlier) = earlier {
        let mut reader = Reader::new(engine, scope, agents);
        reader.count(&earlier, baseline)?;
        fleet.baseline = Some(Box::new(reader.fleet));
    }
    let warnings = engine.warnings();
    let warnings = warnings.iter().map(|warning| format!("the engine warns: {warning}"));
    let notes = warnings.chain(of_one_machine).collect();
    Ok(Gathered { fleet, notes, answers: engine.answers() })
}

/// The engine's own time: this host's may be another.
fn now(engine: &Engine) -> Result<f64, EngineError> {
    let mut now = f64::NAN;
    engine.query(NOW, None, &mut |series| now = series.value())?;
    Ok(now)
}

fn refuse_duplicates(engine: &Engine, scope: &Scope, agents: &mut Agents, at: f64) -> Result<(), EngineError> {
    let mut first = None;
    engine.query(&scope.duplicates(), Some(at), &mut |series| {
        first.get_or_insert((agents.of(series), series.value()));
    })?;
    let Some((agent, series)) = first else { return Ok(()) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of series")]
    let series = series as u64;
    Err(EngineError::Ambiguous { url: engine.url().to_owned(), agent: agents.values(agent).join("/"), series })
}

/// Fills a fleet.
struct Reader<'e> {
    engine: &'e Engine,
    scope: &'e Scope,
    agents: Agents,
    /// The hosts of the fleet by agent.
    hosts: HashMap<AgentId, HostId>,
    fleet: Fleet,
    notes: Vec<String>,
}

impl<'e> Reader<'e> {
    fn new(engine: &'e Engine, scope: &'e Scope, agents: Agents) -> Self {
        Self { engine, scope, agents, hosts: HashMap::new(), fleet: Fleet::default(), notes: Vec::new() }
    }

    /// Hosts, for how long they tell, what they dropped and what they lost.
    fn count(&mut self, census: &Census, window: Window) -> Result<(), EngineError> {
        self.fleet.time = Some(timestamp(window.begin())..timestamp(window.end));
        let mut heard: Vec<_> = census.seconds.iter().map(|(agent, seconds)| (*agent, *seconds)).collect();
        heard.sort_unstable_by_key(|(agent, _)| *agent);
        for (agent, seconds) in heard {
            self.host(agent, |host| host.seconds = seconds);
        }
        self.within_bounds()?;
        self.drops(census)?;
        self.within_bounds()?;
        self.losses(census, window)
    }

    /// One answer has a bound of its own, the fleet of all answers this one.
    fn within_bounds(&self) -> Result<(), EngineError> {
        let full = self.fleet.check(Bounds::DEFAULT);
        full.map_err(|source| EngineError::Full { url: self.engine.url().to_owned(), source })
    }

    fn drops(&mut self, census: &Census) -> Result<(), EngineError> {
        let Self { engine, scope, agents, hosts, fleet, .. } = self;
        let counter = Counter { metric: DROPS, more: "", labels: &PLACE };
        census.growth(engine, scope, agents, &counter, &mut |agent, labels, packets| {
            let Some(&host) = hosts.get(&agent) else { return };
            let place = fleet.place(place(labels));
            if !fleet.add(host, place, packets) {
                fleet.host_mut(host).unbalanced += 1;
            }
        })
    }

    fn losses(&mut self, census: &Census, window: Window) -> Result<(), EngineError> {
        let Self { engine, scope, agents, hosts, fleet, .. } = self;
        let lost = Counter { metric: "droptrace_ledger_drops_total", more: "account=\"lost\"", labels: &[] };
        census.growth(engine, scope, agents, &lost, &mut |agent, _, packets| {
            if let Some(&host) = hosts.get(&agent) {
                fleet.host_mut(host).lost = Some(packets.max(0.0).into());
            }
        })?;
        engine.query(&scope.unknown_loss(window.length), Some(window.end), &mut |series| {
            if let Some(&host) = hosts.get(&agents.of(series)) {
                fleet.host_mut(host).lost = None;
            }
        })
    }

    /// What the hosts of the fleet tell of themselves.
    fn facts(&mut self, window: Window) -> Result<(), EngineError> {
        let (end, length) = (Some(window.end), window.length);
        let Self { engine, scope, agents, hosts, fleet, .. } = self;
        let mut each = |query: &str, tell: &mut dyn FnMut(&mut Host, &Series)| {
            engine.query(query, end, &mut |series| {
                if let Some(&host) = hosts.get(&agents.of(series)) {
                    fleet.tell(host, |host| tell(host, series));
                }
            })
        };
        each(&scope.last(FACTS, length), &mut |host, series| {
            let labels = series.labels().filter(|(name, _)| *name != "__name__");
            // No two hosts have it in common.
            let labels = labels.filter(|(name, _)| *name != MACHINE);
            host.labels.extend(labels.map(|(name, value)| (called(name).to_owned(), value.to_owned())));
            host.machine = known(series.label(MACHINE)).map(str::to_owned);
            host.kernel = known(series.label("kernel")).map(str::to_owned);
        })?;
        each(&scope.last(BUILD, length), &mut |host, series| {
            host.labels.insert("version".to_owned(), series.label("version").to_owned());
        })?;
        each(&scope.last(SOURCE, length), &mut |host, series| {
            host.step = Some(format!("{}/{}", series.label("source"), series.label("mode")));
        })?;
        each(&scope.unbalanced(), &mut |host, _| host.unbalanced += 1)?;
        each(&scope.not_read(OLD), &mut |host, series| {
            let why = "its agent answers, but has not read its totals since".to_owned();
            host.silence = Some(Silence { seconds: Some(series.value()), why });
        })
    }

    /// The highest rates, where they may be storms.
    fn storms(&mut self, window: Window, least: f64) -> Result<(), EngineError> {
        let shortest = SHORTEST_STORM.min(window.length);
        let piece = Duration::from_secs((window.length / WHILES).max(shortest).as_secs());
        let seconds = piece.as_secs_f64();
        let query = self.scope.peaks(DROPS, &PLACE, window.length, piece, least * seconds);
        let Self { engine, agents, hosts, fleet, .. } = self;
        engine.query(&query, Some(window.end), &mut |series| {
            if let Some(&host) = hosts.get(&agents.of(series)) {
                let place = fleet.place(place(&PLACE.map(|label| series.label(label))));
                fleet.bursts.push(Burst { host, place, rate: series.value() / seconds, seconds, at: None });
            }
        })
    }

    /// Hosts that were heard of and are no more, and targets that do not answer.
    fn silence(
        &mut self,
        window: Window,
        recent: &Census,
        earlier: Option<&Census>,
        baseline: Duration,
    ) -> Result<(), EngineError> {
        let end = Some(window.end);
        let mut down = HashSet::new();
        let Self { engine, scope, agents, .. } = self;
        engine.query(&scope.down(window.length + baseline), end, &mut |series| {
            down.insert(agents.of(series));
        })?;
        let mut speaks = HashSet::new();
        engine.query(&scope.heard(), end, &mut |series| {
            speaks.insert(agents.of(series));
        })?;
        let mut last = earlier.map_or_else(|| Ok(HashMap::new()), |census| census.last_heard(engine, scope, agents))?;
        last.extend(recent.last_heard(engine, scope, agents)?);
        let mut silent: Vec<_> = last.keys().chain(&down).copied().filter(|agent| !speaks.contains(agent)).collect();
        silent.sort_unstable();
        silent.dedup();
        // An agent whose machine speaks by another one has moved: to another port, or behind another name.
        let speaking: HashSet<_> = speaks.iter().filter_map(|agent| self.machine(*agent)).collect();
        silent.retain(|agent| self.machine(*agent).is_none_or(|machine| !speaking.contains(machine)));
        self.notes = self.of_one_machine(&speaks);
        for agent in silent {
            let last = last.get(&agent);
            let why = match (down.contains(&agent), last) {
                (true, Some(_)) => "its target is down",
                (true, None) => "its target is down, and never told anything in that time",
                (false, _) => "the engine hears nothing of it any more, and has no target for it",
            };
            let seconds = last.map(|last| window.end - last);
            self.host(agent, |host| host.silence = Some(Silence { seconds, why: why.to_owned() }));
        }
        Ok(())
    }

    /// The machine of an agent, where its agent told.
    fn machine(&self, agent: AgentId) -> Option<&str> {
        self.fleet.hosts()[self.hosts.get(&agent)?.0 as usize].machine.as_deref()
    }

    /// Agents of one machine, of those that speak: each drop of that machine is counted by each.
    fn of_one_machine(&self, speaks: &HashSet<AgentId>) -> Vec<String> {
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (agent, host) in self.hosts.iter().filter(|(agent, _)| speaks.contains(agent)) {
            let name = self.fleet.hosts()[host.0 as usize].name.as_str();
            names.entry(self.machine(*agent).unwrap_or_default()).or_default().push(name);
        }
        let several = names.into_iter().filter(|(machine, names)| !machine.is_empty() && names.len() > 1);
        let told = several.map(|(_, mut names)| {
            names.sort_unstable();
            format!("{} tell of one machine: its drops are counted by each", names.join(", "))
        });
        told.collect()
    }

    fn host(&mut self, agent: AgentId, tell: impl FnOnce(&mut Host)) {
        let Self { agents, hosts, fleet, .. } = self;
        let host = *hosts.entry(agent).or_insert_with(|| fleet.host(&agents.name(agent)));
        tell(fleet.host_mut(host));
    }
}

/// The place that values of [`PLACE`] name.
fn place<'s>(values: &[&'s str]) -> Place<'s> {
    let &[reason, subsystem, symbol, module, class, protocol] = values else { return Place::default() };
    if values.iter().all(|value| *value == "other") {
        return Place { other: true, ..Place::default() };
    }
    let netlink = protocol == "netlink";
    Place {
        reason: known(reason),
        subsystem: known(subsystem),
        symbol: known(symbol),
        module: known(module),
        trap_group: None,
        protocol: known(protocol).filter(|_| !netlink),
        class: known(class),
        netlink,
        other: false,
    }
}

/// What a label of a host is called where hosts are grouped, as snapshots call it.
fn called(label: &str) -> &str {
    if label == "kernel_build_id" { "build_id" } else { label }
}

fn known(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 0 is 0, and beyond the end the end")]
fn timestamp(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, ok};
    use super::super::{Access, Limits};
    use super::*;

    fn refused(fake: &Fake) -> String {
        gathered(fake, Duration::from_hours(24)).unwrap_err().to_string()
    }

    fn gathered(fake: &Fake, baseline: Duration) -> Result<Gathered, EngineError> {
        let limits = Limits { time: Duration::from_secs(20), bytes: 1 << 20 };
        let engine = Engine::new(&fake.url(), &Access::default(), limits).unwrap();
        let scope = Scope::new(&["job".to_owned(), "instance".to_owned()], &["a=\"b\"".to_owned()]).unwrap();
        let range = Duration::from_hours(1);
        gather(&engine, &scope, &Question { at: Some(1e9), range, baseline, storm_rate: 1.0 })
    }

    #[test]
    fn nobody_is_no_empty_fleet() {
        let told = refused(&Fake::new(|_| ok(&[])));
        assert!(told.contains("no series droptrace_start_time_seconds{a=\"b\"} within 1day 1h;"), "{told}");
    }

    /// An engine that knows agents on `h:1` and `h:2` of one machine, and one on `h:3` of another; these speak.
    fn machines(speaking: &'static [&'static str]) -> Gathered {
        let fake = Fake::new(move |request| {
            let query = request.field("query").unwrap_or_default();
            let all = [("h:1", "m1"), ("h:2", "m1"), ("h:3", "m2")];
            let told: &[_] = match &*query {
                query if query.starts_with("sum by (job,instance) (changes(") => &all,
                query if query.starts_with("droptrace_host_info") => &all,
                // Lives of processes.
                query if query.starts_with("droptrace_start_time_seconds{") && query.ends_with("[3600s]") => &all,
                query if query.starts_with("max by (job,instance) (timestamp(") => {
                    let is_speaking = |name: &&(&str, &str)| speaking.contains(&name.0);
                    return ok_agents(&all.iter().filter(is_speaking).copied().collect::<Vec<_>>());
                }
                _ => &[],
            };
            ok_agents(told)
        });
        gathered(&fake, Duration::ZERO).unwrap()
    }

    fn ok_agents(agents: &[(&str, &str)]) -> String {
        let labels: Vec<_> =
            agents.iter().map(|(name, machine)| [("job", "d"), ("instance", name), ("machine", machine)]).collect();
        ok(&labels.iter().map(|labels| (&labels[..], 5.0)).collect::<Vec<_>>())
    }

    #[test]
    fn an_agent_that_moved_is_not_silent() {
        let silent = |gathered: &Gathered| -> Vec<_> {
            let hosts = gathered.fleet.hosts().iter().filter(|host| host.silence.is_some());
            hosts.map(|host| host.name.clone()).collect()
        };
        let moved = machines(&["h:2"]);
        assert_eq!((silent(&moved), &moved.notes), (vec!["h:3".to_owned()], &vec![]));
        let gone = machines(&["h:3"]);
        assert_eq!(silent(&gone), ["h:1", "h:2"]);
        assert_eq!(gone.fleet.find("h:1").unwrap().machine.as_deref(), Some("m1"));
        // No two hosts have it in common, so that none are grouped by it.
        assert!(gone.fleet.hosts().iter().all(|host| !host.labels.contains_key("machine")));
    }

    #[test]
    fn agents_of_one_machine_are_told() {
        let both = machines(&["h:1", "h:2", "h:3"]);
        assert_eq!(both.notes, ["h:1, h:2 tell of one machine: its drops are counted by each"]);
    }

    #[test]
    fn an_agent_that_is_told_of_twice_is_not_counted_twice() {
        let fake = Fake::new(|_| ok(&[(&[("job", "d"), ("instance", "h:1")], 2.0)]));
        let told = refused(&fake);
        assert!(told.contains("tells 2 times of the same agent, d/h:1") && told.contains("--identity"), "{told}");
        assert_eq!(fake.requests().len(), 1);
    }
}
