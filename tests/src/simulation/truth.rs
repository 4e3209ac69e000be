//! The truth of a simulated fleet: JSON lines that name its faults, and events that are not faults.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use droptrace_base::outside::to_json;
use droptrace_base::render::output::Output;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::HostFacts;

/// The name of the file with the [`Record`]s.
pub const TRUTH: &str = "truth.jsonl";
/// The name of the file with the [`HostFacts`] of all hosts.
pub const HOSTS: &str = "hosts.jsonl";

/// A line of the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The fleet: the first line.
    Fleet(FleetFacts),
    /// A planted fault.
    Fault(Fault),
    /// A change that is not a fault.
    Event(Event),
}

/// The fleet in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetFacts {
    /// `web` or `mixed`.
    pub kind: String,
    /// The seed.
    pub seed: u64,
    /// Hosts, also those without a snapshot of the window.
    pub hosts: usize,
    /// Hosts with a snapshot of the window.
    pub reporting: usize,
    /// Series that a host can have, without those that only faults bring in.
    pub series: usize,
    /// Counts of the window that are not 0: one for each host and series.
    pub counts: u64,
    /// Pairs of a host and a reason with drops in the window.
    pub pairs: u64,
    /// All drops of the window.
    pub packets: u64,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A single host has many times its usual drops of a series.
    Host,
    /// A single host has a reason that it did not have before, and that other hosts have.
    NewToHost,
    /// A single host has a reason that nobody in the fleet has without a fault.
    NewToFleet,
    /// All hosts of a rack have many times their usual drops of a series.
    Rack,
    /// As [`Self::Rack`], for a role.
    Role,
    /// As [`Self::Rack`], for a kernel release.
    Kernel,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Host, Self::NewToHost, Self::NewToFleet, Self::Rack, Self::Role, Self::Kernel];

    /// The name in the truth.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::NewToHost => "new_to_host",
            Self::NewToFleet => "new_to_fleet",
            Self::Rack => "rack",
            Self::Role => "role",
            Self::Kernel => "kernel",
        }
    }
}

/// A planted fault. Sums are over the hosts that it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Number of the fault within the fleet.
    pub id: usize,
    /// Its kind.
    pub kind: FaultKind,
    /// The host; `None` for the fault of a group.
    pub host: Option<String>,
    /// The group as `rack=rack-012`; `None` for the fault of a host.
    pub group: Option<String>,
    /// Reporting hosts whose drops are changed.
    pub hosts: usize,
    /// The reason.
    pub reason: String,
    /// Function that freed the packets.
    pub symbol: String,
    /// Protocol.
    pub protocol: String,
    /// Kind of the interface.
    pub class: String,
    /// How many times the usual mean; `None` for a new reason.
    pub factor: Option<f64>,
    /// Mean drops in the window without the fault.
    pub usual: f64,
    /// Mean drops in the window with the fault.
    pub expected: f64,
    /// Drops of the series in the snapshots of the window.
    pub drawn: u64,
    /// Shape of the usual counts' gamma factor: their variance is `mean + mean² / shape`, or more.
    pub shape: f64,
}

/// A change that is not a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `restart` of a host within the window, or `deployment` to a role.
    pub kind: EventKind,
    /// The host that restarted.
    pub host: Option<String>,
    /// The role with the deployment, as `role=role-03`.
    pub group: Option<String>,
    /// The reason whose rate changed.
    pub reason: String,
    /// Function that freed the packets; `None` if those of all functions changed.
    pub symbol: Option<String>,
    /// How many times the usual mean of the window.
    pub factor: f64,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A host restarted, and its services did not listen at first.
    Restart,
    /// A deployment changed a role's rates.
    Deployment,
}

/// The truth of a fleet, as [`super::score`] needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The fleet.
    pub fleet: FleetFacts,
    /// Its faults.
    pub faults: Vec<Fault>,
    /// Its events.
    pub events: Vec<Event>,
    /// Its hosts by name.
    pub hosts: HashMap<String, HostFacts>,
}

impl Truth {
    /// Reads the truth from the folder that [`super::Simulation::write`] filled.
    ///
    /// # Errors
    /// Names the file that is missing, and the line that is not as expected.
    pub fn read(folder: &Path) -> Result<Self> {
        let (mut fleets, mut faults, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for record in read_lines(&folder.join(TRUTH))? {
            match record {
                Record::Fleet(fleet) => fleets.push(fleet),
                Record::Fault(fault) => faults.push(fault),
                Record::Event(event) => events.push(event),
            }
        }
        let fleet = fleets.pop().with_context(|| format!("{TRUTH} describes no fleet"))?;
        let hosts = read_lines::<HostFacts>(&folder.join(HOSTS))?;
        let hosts = hosts.into_iter().map(|host| (host.host.clone(), host)).collect();
        Ok(Self { fleet, faults, events, hosts })
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(at, line)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}, is not as expected", path.display(), at + 1))
    };
    text.lines().enumerate().map(read).collect()
}

/// Writes one JSON document per line.
pub(super) fn write_lines<T: Serialize>(path: &Path, lines: impl Iterator<Item = T>) -> Result<()> {
    let mut output = Output::open(Some(path))?;
    for line in lines {
        to_json(&mut output, &line)?;
        output.write_all(b"\n")?;
    }
    output.finish()?;
    Ok(())
}
