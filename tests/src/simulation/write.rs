//! Writes a fleet: its snapshots, its past, and its truth.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use droptrace_base::render::output::Output;
use droptrace_base::snapshot;

use super::hosts::Host;
use super::levels::{boot_factor, grows_at_boot};
use super::parameters::SERIES;
use super::plan::{Group, Target};
use super::truth::{Event, EventKind, Fault, FleetFacts, HOSTS, Record, TRUTH, write_lines};
use super::window::{Factors, Window};
use super::{Change, HostFacts, Simulation};

/// Threads that draw and write. Sums are added up by thread, so that another number may change the last digits of the
/// truth.
const WRITERS: usize = 2;

/// The property of hosts that the folders of their snapshots are named after, which a merge knows as `folder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folders {
    /// The role.
    Role,
    /// The rack.
    Rack,
    /// The region with a local time.
    Zone,
}

impl FromStr for Folders {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "role" => Ok(Self::Role),
            "rack" => Ok(Self::Rack),
            "zone" => Ok(Self::Zone),
            _ => Err("no property of hosts: write role, rack or zone".into()),
        }
    }
}

impl Folders {
    fn of(self, facts: &HostFacts) -> &str {
        match self {
            Self::Role => &facts.role,
            Self::Rack => &facts.rack,
            Self::Zone => &facts.zone,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// Snapshots.
    pub snapshots: usize,
    /// Rows of all snapshots, none of which is 0.
    pub rows: u64,
    /// Bytes of the snapshots' files.
    pub bytes: u64,
    packets: u64,
    /// Pairs of a host and a reason.
    pairs: u64,
    faults: Vec<Sum>,
}

/// The sum of the hosts' parts of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    hosts: usize,
    usual: f64,
    expected: f64,
    drawn: u64,
}

impl Written {
    fn new(faults: usize) -> Self {
        Self { faults: vec![Sum::default(); faults], ..Self::default() }
    }

    fn add(&mut self, simulation: &Simulation, window: &Window, bytes: u64) {
        let mut reasons: Vec<_> = window.counts.iter().map(|(at, _)| simulation.basis.series[*at].reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        self.snapshots += 1;
        self.rows += window.counts.len() as u64;
        self.bytes += bytes;
        self.packets += window.counts.iter().map(|(_, count)| count).sum::<u64>();
        self.pairs += reasons.len() as u64;
        for part in &window.parts {
            let sum = &mut self.faults[part.fault];
            sum.hosts += 1;
            sum.usual += part.usual;
            sum.expected += part.expected;
            sum.drawn += part.drawn;
        }
    }

    fn join(mut self, other: &Self) -> Self {
        self.snapshots += other.snapshots;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.packets += other.packets;
        self.pairs += other.pairs;
        for (sum, other) in self.faults.iter_mut().zip(&other.faults) {
            sum.hosts += other.hosts;
            sum.usual += other.usual;
            sum.expected += other.expected;
            sum.drawn += other.drawn;
        }
        self
    }
}

impl Simulation {
    /// Writes the window to `now/`, so many days before it to `past/day-N/`, and the truth. Returns what was written of
    /// the window and of the past.
    ///
    /// # Errors
    /// The folder has files already, or something could not be written.
    pub fn write(&self, folder: &Path, folders: Folders, past: usize, ending: &str) -> Result<[Written; 2]> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        if fs::read_dir(folder)?.next().is_some() {
            bail!("the folder {} is not empty: name a new one", folder.display());
        }
        let now = self.write_day(&folder.join("now"), folders, 0, ending)?;
        let mut before = Written::new(self.faults.len());
        for day in 1..=past {
            before =
                before.join(&self.write_day(&folder.join("past").join(format!("day-{day}")), folders, day, ending)?);
        }
        self.write_truth(folder, &now)?;
        Ok([now, before])
    }

    fn write_day(&self, folder: &Path, folders: Folders, day: usize, ending: &str) -> Result<Written> {
        let factors = Factors::new(&self.basis, day, 0);
        for host in &self.basis.hosts {
            fs::create_dir_all(folder.join(folders.of(&host.facts)))?;
        }
        let part = |first: usize| -> Result<Written> {
            let mut written = Written::new(self.faults.len());
            for number in (first..self.basis.hosts.len()).step_by(WRITERS) {
                let Some(window) = self.draw(number, &factors) else { continue };
                let facts = &self.basis.hosts[number].facts;
                let path = folder.join(folders.of(facts)).join(format!("{}.json{ending}", facts.host));
                let bytes = self.write_snapshot(&path, number, day, &window)?;
                written.add(self, &window, bytes);
            }
            Ok(written)
        };
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS).map(|first| scope.spawn(move || part(first))).collect();
            let mut written =
                writers.into_iter().map(|writer| writer.join().map_err(|_| anyhow!("a writer panicked"))?);
            written.try_fold(Written::new(self.faults.len()), |sum, part| Ok(sum.join(&part?)))
        })
    }

    fn write_snapshot(&self, path: &Path, number: usize, day: usize, window: &Window) -> Result<u64> {
        let mut output = Output::open(Some(path))?;
        snapshot::write(&mut output, &self.document(number, day, window))?;
        output.finish()?;
        Ok(fs::metadata(path).with_context(|| path.display().to_string())?.len())
    }

    fn write_truth(&self, folder: &Path, now: &Written) -> Result<()> {
        let fleet = FleetFacts {
            kind: self.basis.kind.name().into(),
            seed: self.basis.seed,
            hosts: self.basis.hosts.len(),
            reporting: now.snapshots,
            series: SERIES,
            counts: now.rows,
            pairs: now.pairs,
            packets: now.packets,
        };
        let faults = (0..self.faults.len()).map(|id| Record::Fault(self.fault(id, now.faults[id])));
        let events = self.deployed().chain(self.restarted()).map(Record::Event);
        write_lines(&folder.join(TRUTH), [Record::Fleet(fleet)].into_iter().chain(faults).chain(events))?;
        write_lines(&folder.join(HOSTS), self.basis.hosts.iter().map(|host| &host.facts))
    }

    fn fault(&self, id: usize, sum: Sum) -> Fault {
        let planned = &self.faults[id];
        let series = &self.basis.series[planned.series];
        let (host, group) = match planned.target {
            Target::Host(host) => (Some(self.basis.hosts[host].facts.host.clone()), None),
            Target::Group(group) => {
                (None, self.basis.hosts.iter().find(|host| group.has(host)).map(|it| of(group, it)))
            }
        };
        let factor = match planned.change {
            Change::Times(factor) => Some(factor),
            Change::New(_) => None,
        };
        Fault {
            id,
            kind: planned.kind,
            host,
            group,
            hosts: sum.hosts,
            reason: series.reason.into(),
            symbol: series.symbol.into(),
            protocol: series.protocol.into(),
            class: series.class.into(),
            factor,
            usual: sum.usual,
            expected: sum.expected,
            drawn: sum.drawn,
            shape: series.shape,
        }
    }

    fn deployed(&self) -> impl Iterator<Item = Event> {
        let event = |role: usize, series: usize, factor: f64| {
            let host = self.basis.hosts.iter().find(|host| host.role == role);
            let of_series = &self.basis.series[series];
            Event {
                kind: EventKind::Deployment,
                host: None,
                group: host.map(|host| of(Group::Role(role), host)),
                reason: of_series.reason.into(),
                symbol: Some(of_series.symbol.into()),
                factor,
            }
        };
        self.deployments
            .iter()
            .flat_map(move |it| it.changes.iter().map(move |&(series, _)| event(it.role, series, it.factor(series))))
    }

    fn restarted(&self) -> impl Iterator<Item = Event> {
        let mut reasons: Vec<_> = self.basis.series.iter().filter(|it| grows_at_boot(it)).map(|it| it.reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let restarted = self.basis.hosts.iter().filter_map(|host| Some((host, host.facts.uptime?)));
        restarted.filter(|(host, _)| host.facts.reports).flat_map(move |(host, uptime)| {
            let event = |reason: &&'static str| Event {
                kind: EventKind::Restart,
                host: Some(host.facts.host.clone()),
                group: None,
                reason: (*reason).into(),
                symbol: None,
                factor: boot_factor(uptime),
            };
            reasons.iter().map(event).collect::<Vec<_>>()
        })
    }
}

/// The group of the host, as the truth names it.
fn of(group: Group, host: &Host) -> String {
    let facts = &host.facts;
    match group {
        Group::Rack(_) => format!("rack={}", facts.rack),
        Group::Role(_) => format!("role={}", facts.role),
        Group::Kernel(_) => format!("kernel={}", facts.kernel),
    }
}
