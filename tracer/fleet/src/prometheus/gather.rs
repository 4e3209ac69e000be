//! Reads a fleet from an engine, for the analysis.

use std::collections::HashMap;
use std::time::Duration;

use droptrace_base::domain::event::Timestamp;

use super::agents::{AgentId, Agents};
use super::client::Engine;
use super::error::EngineError;
use super::increase::Census;
use super::promql::{Counter, NOW, Scope, Window};
use super::series::Series;
use crate::model::{Bounds, Burst, Fleet, Full, Host, HostId, Key, Silence};

const DROPS: &str = "droptrace_dropped_packets_total";
pub(super) const FACTS: &str = "droptrace_host_info";
const BUILD: &str = "droptrace_build_info";
/// The label of [`FACTS`] that distinguishes machines with the same name.
pub(super) const MACHINE: &str = "machine";
const SOURCE: &str = "droptrace_backend_info";

/// The labels of an aggregation key, in the order of [`key`].
const KEY_LABELS: [&str; 6] = ["reason", "subsystem", "symbol", "module", "interface_class", "protocol"];

/// Drops by aggregation key. The series of expired keys is excluded: it rises by drops that other series had already
/// counted.
const DROPS_BY_KEY: Counter<'_> = Counter { metric: DROPS, more: "reason!=\"expired\"", labels: &KEY_LABELS };

/// Losses outside `kfree_skb` by counter.
const OUTSIDE: Counter<'_> =
    Counter { metric: "droptrace_outside_kfree_skb_total", more: "counter!=\"expired\"", labels: &["counter"] };

/// An agent reads its totals every few seconds. If it has not read them for this long, its values are outdated.
const OLD: Duration = Duration::from_mins(5);

/// The shortest interval in which drops are checked for storms: engines usually need this long for two samples.
const SHORTEST_STORM: Duration = Duration::from_mins(1);

/// The number of intervals that are checked for storms, if they are long enough then.
const WHILES: u32 = 60;

/// The time spans to query.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The end of the time span, in seconds since the Unix epoch; `None` for now, by the engine's clock.
    pub at: Option<f64>,
    /// Length of the time span; whole seconds.
    pub range: Duration,
    /// Length of the time span before it, which shows the usual drops; zero for none.
    pub baseline: Duration,
    /// Drops per second that may be a storm.
    pub storm_rate: f64,
}

/// The answers of the engine, as a fleet.
#[derive(Debug)]
pub struct Gathered {
    /// The fleet.
    pub fleet: Fleet,
    /// Notes for the reader of the report, in sentences.
    pub notes: Vec<String>,
    /// Number of answers.
    pub answers: usize,
}

/// Queries all data of the fleet.
pub fn gather(engine: &Engine, scope: &Scope, question: &Question) -> Result<Gathered, EngineError> {
    let end = question.at.map_or_else(|| now(engine), Ok)?;
    let range = Window { end, length: question.range };
    let baseline = range.before(question.baseline);
    let mut agents = Agents::new(scope.identity(), Bounds::DEFAULT.hosts);
    refuse_duplicates(engine, scope, &mut agents, end)?;
    let mut take = |window| {
        let census = Census::take(engine, scope, &mut agents, window)?;
        agents.check().map_err(|source| full_of(engine, source))?;
        Ok(census)
    };
    let recent = take(range)?;
    let earlier = match question.baseline {
        Duration::ZERO => None,
        _ => Some(take(baseline)?),
    };
    if recent.seconds.is_empty() && earlier.as_ref().is_none_or(|census| census.seconds.is_empty()) {
        let (url, matchers) = (engine.url().to_owned(), scope.matchers());
        return Err(EngineError::Nobody { url, matchers, within: question.range + question.baseline });
    }
    let mut reader = Reader::new(engine, scope, agents);
    reader.count(&recent, range)?;
    reader.facts(range)?;
    reader.storms(range, question.storm_rate)?;
    reader.within_bounds()?;
    reader.silence(range, &recent, earlier.as_ref(), question.baseline)?;
    reader.within_bounds()?;
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

fn full_of(engine: &Engine, source: Full) -> EngineError {
    EngineError::Full { url: engine.url().to_owned(), source }
}

/// The engine's own time: the clock of this host may differ.
fn now(engine: &Engine) -> Result<f64, EngineError> {
    Ok(engine.query(NOW, None, |series| Some(series.value()))?.pop().unwrap_or(f64::NAN))
}

fn refuse_duplicates(engine: &Engine, scope: &Scope, agents: &mut Agents, at: f64) -> Result<(), EngineError> {
    let found = engine.query(&scope.duplicates(), Some(at), |series| Some((agents.of(series), series.value())))?;
    let Some(&(agent, series)) = found.first() else { return Ok(()) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of series")]
    let series = series as u64;
    Err(EngineError::Ambiguous { url: engine.url().to_owned(), agent: agents.values(agent).join("/"), series })
}

/// The reader that fills a fleet.
pub(super) struct Reader<'e> {
    pub(super) engine: &'e Engine,
    pub(super) scope: &'e Scope,
    pub(super) agents: Agents,
    /// The hosts of the fleet by agent.
    pub(super) hosts: HashMap<AgentId, HostId>,
    pub(super) fleet: Fleet,
    pub(super) notes: Vec<String>,
}

impl<'e> Reader<'e> {
    fn new(engine: &'e Engine, scope: &'e Scope, agents: Agents) -> Self {
        Self { engine, scope, agents, hosts: HashMap::new(), fleet: Fleet::default(), notes: Vec::new() }
    }

    /// Reads hosts, their time spans, their drops and their losses.
    fn count(&mut self, census: &Census, window: Window) -> Result<(), EngineError> {
        self.fleet.time = Some(timestamp(window.begin())..timestamp(window.end));
        let mut seconds_of: Vec<_> = census.seconds.iter().map(|(agent, seconds)| (*agent, *seconds)).collect();
        seconds_of.sort_unstable_by_key(|(agent, _)| *agent);
        for (agent, seconds) in seconds_of {
            self.host(agent, |host| host.seconds = seconds);
        }
        self.within_bounds()?;
        self.drops(census)?;
        self.within_bounds()?;
        self.losses(census, window)?;
        self.within_bounds()?;
        self.outside(census)
    }

    /// Each answer has a limit of its own; this limit is for the fleet of all answers.
    fn within_bounds(&self) -> Result<(), EngineError> {
        let full = self.agents.check().and_then(|()| self.fleet.check(Bounds::DEFAULT));
        full.map_err(|source| full_of(self.engine, source))
    }

    fn drops(&mut self, census: &Census) -> Result<(), EngineError> {
        let Self { engine, scope, agents, hosts, fleet, .. } = self;
        let mut known: HashMap<AgentId, f64> = HashMap::new();
        for (agent, labels, packets) in census.growth(engine, scope, agents, &DROPS_BY_KEY)?.rows() {
            let Some(&host) = hosts.get(&agent) else { continue };
            // The drops of expired keys are removed from the keys that counted them; the sum contains them.
            if packets < 0.0 {
                continue;
            }
            let key = fleet.key(key(&labels));
            if fleet.add(host, key, packets) {
                *known.entry(agent).or_default() += packets;
            } else {
                fleet.host_mut(host).unbalanced += 1;
            }
        }
        // For agents with series that expired and began again, the drop sites of some drops are unknown.
        for (agent, _, packets) in census.whole_growth(engine, scope, agents, DROPS)?.rows() {
            let Some(&host) = hosts.get(&agent) else { continue };
            let other = fleet.key(Key { other: true, ..Key::default() });
            let rest = packets - known.get(&agent).copied().unwrap_or(0.0);
            if !fleet.add(host, other, rest) {
                fleet.host_mut(host).unbalanced += 1;
            }
        }
        Ok(())
    }

    fn losses(&mut self, census: &Census, window: Window) -> Result<(), EngineError> {
        let Self { engine, scope, agents, hosts, fleet, .. } = self;
        let lost = Counter { metric: "droptrace_ledger_drops_total", more: "account=\"lost\"", labels: &[] };
        for (agent, _, packets) in census.growth(engine, scope, agents, &lost)?.rows() {
            if let Some(&host) = hosts.get(&agent) {
                fleet.host_mut(host).lost = Some(packets.max(0.0).into());
            }
        }
        let unknown = engine.query(&scope.unknown_loss(window.length), Some(window.end), |series| {
            hosts.get(&agents.of(series)).copied()
        })?;
        for host in unknown {
            fleet.host_mut(host).lost = None;
        }
        Ok(())
    }

    /// Reads the losses outside `kfree_skb`. Those of series that expired and began again are not among them.
    fn outside(&mut self, census: &Census) -> Result<(), EngineError> {
        let Self { engine, scope, agents, hosts, fleet, .. } = self;
        for (agent, labels, packets) in census.growth(engine, scope, agents, &OUTSIDE)?.rows() {
            if let (Some(&host), [counter]) = (hosts.get(&agent), &labels[..]) {
                fleet.change(host, |host| _ = host.add_outside(counter, packets.max(0.0).into()));
            }
        }
        Ok(())
    }

    /// Reads the properties of the hosts.
    fn facts(&mut self, window: Window) -> Result<(), EngineError> {
        let (end, length) = (Some(window.end), window.length);
        let scope = self.scope;
        for (host, series) in self.of_hosts(&scope.last(FACTS, length), end)? {
            self.fleet.change(host, |host| identify(host, &series));
        }
        for (host, series) in self.of_hosts(&scope.last(BUILD, length), end)? {
            let version = series.label("version").to_owned();
            self.fleet.change(host, |host| _ = host.labels.insert("version".to_owned(), version));
        }
        for (host, series) in self.of_hosts(&scope.last(SOURCE, length), end)? {
            let backend = format!("{}/{}", series.label("backend"), series.label("mode"));
            self.fleet.change(host, |host| host.backend = Some(backend));
        }
        for (host, _) in self.of_hosts(&scope.unbalanced(), end)? {
            self.fleet.host_mut(host).unbalanced += 1;
        }
        for (host, series) in self.of_hosts(&scope.not_read(OLD), end)? {
            let why = "its agent answers, but has not read its totals in that time".to_owned();
            self.fleet.host_mut(host).silence = Some(Silence { seconds: Some(series.value()), why });
        }
        Ok(())
    }

    /// The series of an answer that belong to hosts of the fleet.
    fn of_hosts(&mut self, query: &str, at: Option<f64>) -> Result<Vec<(HostId, Series)>, EngineError> {
        let Self { engine, agents, hosts, .. } = self;
        engine.query(query, at, |series| Some((*hosts.get(&agents.of(series))?, series.clone())))
    }

    /// Reads the highest rates that may be storms.
    fn storms(&mut self, window: Window, least: f64) -> Result<(), EngineError> {
        let shortest = SHORTEST_STORM.min(window.length);
        let piece = Duration::from_secs((window.length / WHILES).max(shortest).as_secs());
        let seconds = piece.as_secs_f64();
        let query = self.scope.peaks(&DROPS_BY_KEY, window.length, piece, least * seconds);
        let Self { engine, agents, hosts, fleet, .. } = self;
        let bursts = engine.query(&query, Some(window.end), |series| {
            let &host = hosts.get(&agents.of(series))?;
            let key = fleet.key(key(&KEY_LABELS.map(|label| series.label(label))));
            Some(Burst { host, key, rate: series.value() / seconds, seconds, at: None })
        })?;
        fleet.bursts.extend(bursts);
        Ok(())
    }

    pub(super) fn host(&mut self, agent: AgentId, change: impl FnOnce(&mut Host)) {
        let Self { agents, hosts, fleet, .. } = self;
        let host = *hosts.entry(agent).or_insert_with(|| fleet.host(&agents.name(agent)));
        change(fleet.host_mut(host));
    }
}

/// Takes the properties of a host from a series of [`FACTS`].
fn identify(host: &mut Host, series: &Series) {
    // No two hosts share the label of the machine.
    let labels = series.labels().filter(|(name, _)| !["__name__", MACHINE].contains(name));
    host.labels.extend(labels.map(|(name, value)| (called(name).to_owned(), value.to_owned())));
    // If an agent reported several values of a property, one of them may lack it.
    host.machine = known(series.label(MACHINE)).map(str::to_owned).or_else(|| host.machine.take());
    host.kernel = known(series.label("kernel")).map(str::to_owned);
}

/// The aggregation key with the label values of [`KEY_LABELS`].
fn key<'s>(values: &[&'s str]) -> Key<'s> {
    let &[reason, subsystem, symbol, module, class, protocol] = values else { return Key::default() };
    if values.iter().all(|value| *value == "other") {
        return Key { other: true, ..Key::default() };
    }
    let netlink = protocol == "netlink";
    Key {
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

/// The name of a host's label for grouping, as in snapshots.
fn called(label: &str) -> &str {
    if label == "kernel_build_id" { "build_id" } else { label }
}

pub(super) fn known(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 0 is 0, and beyond the end the end")]
fn timestamp(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e9) as u64)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::fake::{Fake, ok};
    use super::super::{Access, Limits};
    use super::*;

    fn refused(fake: &Fake) -> String {
        gathered(fake, Duration::from_hours(24)).unwrap_err().to_string()
    }

    pub(in super::super) fn gathered(fake: &Fake, baseline: Duration) -> Result<Gathered, EngineError> {
        let limits = Limits { time: Duration::from_secs(20), bytes: 1 << 20 };
        let engine = Engine::new(&fake.url(), &Access::default(), limits).unwrap();
        let scope = Scope::new(&["job".to_owned(), "instance".to_owned()], &["a=\"b\"".to_owned()]).unwrap();
        let range = Duration::from_hours(1);
        gather(&engine, &scope, &Question { at: Some(1e9), range, baseline, storm_rate: 1.0 })
    }

    #[test]
    fn engine_without_agents_is_an_error() {
        let message = refused(&Fake::new(|_| ok(&[])));
        assert!(message.contains("no series droptrace_start_time_seconds{a=\"b\"} within 1day 1h;"), "{message}");
    }

    #[test]
    fn drops_without_a_key_are_counted_as_other() {
        for (whole, other, unbalanced) in [(7.0, None, 0), (10.0, Some(3.0), 0), (6.0, None, 1)] {
            let fake = Fake::new(move |request| {
                const AGENT: [(&str, &str); 2] = [("job", "d"), ("instance", "h:1")];
                let query = request.field("query").unwrap_or_default();
                let reason = |reason| [AGENT[0], AGENT[1], ("reason", reason)];
                if query.starts_with("((droptrace_start_time_seconds") {
                    ok(&[(&AGENT, 5.0)])
                } else if query.starts_with("sum by (job,instance,reason,") {
                    ok(&[(&reason("A"), 7.0), (&reason("B"), -2.0)])
                } else if query.starts_with("(sum by (job,instance) (droptrace_dropped_packets_total") {
                    ok(&[(&AGENT, whole)])
                } else {
                    ok(&[])
                }
            });
            let fleet = gathered(&fake, Duration::ZERO).unwrap().fleet;
            let row = |count: &crate::model::Count| {
                let key = fleet.resolve(count.key);
                (key.reason.map(str::to_owned), key.other, count.packets.float())
            };
            let mut expected = vec![(Some("A".to_owned()), false, 7.0)];
            expected.extend(other.map(|packets| (None, true, packets)));
            assert_eq!(fleet.counts().iter().map(row).collect::<Vec<_>>(), expected);
            assert_eq!(fleet.hosts()[0].unbalanced, unbalanced);
        }
    }

    #[test]
    fn losses_outside_are_those_of_agents_that_report_them() {
        let fake = Fake::new(|request| {
            const AGENTS: [[(&str, &str); 2]; 2] =
                [[("job", "d"), ("instance", "h:1")], [("job", "d"), ("instance", "h:2")]];
            let query = request.field("query").unwrap_or_default();
            let counter = |name| [AGENTS[0][0], AGENTS[0][1], ("counter", name)];
            if query.starts_with("((droptrace_start_time_seconds") {
                ok(&[(&AGENTS[0], 5.0), (&AGENTS[1], 5.0)])
            } else if query.starts_with("sum by (job,instance,counter) (((droptrace_outside_kfree_skb_total")
                || query.starts_with("sum by (job,instance,counter) ((((droptrace_outside_kfree_skb_total")
            {
                ok(&[(&counter("TcpExtListenDrops"), 82.0), (&counter("other"), 0.0)])
            } else {
                ok(&[])
            }
        });
        let fleet = gathered(&fake, Duration::ZERO).unwrap().fleet;
        let outside: Vec<_> = fleet.hosts().iter().map(|host| host.outside.clone()).collect();
        let expected = [("TcpExtListenDrops", 82_u64), ("other", 0)].map(|(name, sum)| (name.to_owned(), sum.into()));
        assert_eq!(outside, [Some(expected.into()), None]);
    }

    #[test]
    fn agent_with_two_series_is_an_error() {
        let fake = Fake::new(|_| ok(&[(&[("job", "d"), ("instance", "h:1")], 2.0)]));
        let message = refused(&fake);
        assert!(
            message.contains("has 2 series for the same agent, d/h:1") && message.contains("--identity"),
            "{message}"
        );
        assert_eq!(fake.requests().len(), 1);
    }
}
