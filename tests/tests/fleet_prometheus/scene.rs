//! Hosts with agents, each in a network namespace of its own, and Prometheus in one that has a cable to each.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tests::droptrace::{Droptrace, binary, command};
use tests::folder::Folder;
use tests::netns::Netns;
use tests::pace::Deadline;
use tests::prometheus::{Server, program};
use tests::storm::Storm;
use tests::wire::udp;
use tests::witness::Witness;

/// How long anything may take on the reference machine of [`tests::pace`] that Prometheus has to scrape first.
const PATIENCE: Duration = Duration::from_mins(1);

/// A host and its agent.
pub(crate) struct Host {
    storm: Storm,
    /// Sends to a port without a listener.
    lost: UdpSocket,
    address: Ipv4Addr,
    agent: Option<Droptrace>,
}

impl Host {
    fn new(hub: &Netns, number: u8) -> Result<Self> {
        let (host, address) = (Netns::new()?, Ipv4Addr::new(10, 9, number, 2));
        host.probe(&format!("ip link add name up0 type veth peer name host{number} netns {}", hub.path()))?;
        host.commands(&format!("ip address add {address}/24 dev up0\nip link set up0 up"))?;
        hub.commands(&format!("ip address add 10.9.{number}.1/24 dev host{number}\nip link set host{number} up"))?;
        let storm = Storm::within(host)?;
        let lost = udp(&storm.host, (Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { storm, lost, address, agent: None })
    }

    /// The host's name in Prometheus.
    pub(crate) fn name(&self) -> String {
        format!("{}:23870", self.address)
    }

    /// Whether its agent runs.
    pub(crate) fn has_agent(&self) -> bool {
        self.agent.is_some()
    }

    /// Starts its agent, and waits until it counts.
    pub(crate) fn start_agent(&mut self) -> Result<()> {
        let listen = self.name();
        let mut words =
            vec!["agent", "--netns", "self", "--listen", &listen, "--listen-insecure", "--interval", "100ms"];
        // Agents with and without it are of one fleet.
        if self.address.octets()[2].is_multiple_of(2) {
            words.push("--offset-label");
        }
        let mut agent = self.storm.host.run(|| Droptrace::spawn(&mut command(&words)?))?;
        agent.await_attached()?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Ends its agent without a word.
    pub(crate) fn kill_agent(&mut self) -> Result<()> {
        let agent = self.agent.take().context("it has no agent")?;
        agent.signal(Signal::KILL)?;
        agent.wait().map(drop)
    }

    /// Causes so many drops, or a few less, because the receive buffer is full.
    pub(crate) fn overflow(&self, datagrams: u64) -> Result<()> {
        self.storm.send(datagrams)
    }

    /// Causes so many drops at a port without a listener.
    pub(crate) fn miss(&self, datagrams: u64) -> Result<()> {
        for _ in 0..datagrams {
            self.lost.send_to(b"lost", (Ipv4Addr::LOCALHOST, 9))?;
        }
        Ok(())
    }

    /// The kernel's counts of drops so far: because of a full buffer, and because of a missing listener.
    pub(crate) fn dropped(&self) -> Result<[u64; 2]> {
        Ok([self.storm.dropped()?, Witness::Snmp("Udp", "NoPorts").read(&self.storm.host)?])
    }
}

/// All of it.
pub(crate) struct Scene {
    pub(crate) hosts: Vec<Host>,
    /// Dropped before Prometheus.
    server: Server,
    hub: Netns,
    _folder: Folder,
}

impl Scene {
    /// Makes so many hosts with agents, and Prometheus, which scrapes them each second.
    pub(crate) fn new(hosts: usize) -> Result<Self> {
        let (hub, folder) = (Netns::new()?, Folder::new("prometheus")?);
        hub.command("ip link set lo up")?;
        let numbers = 1..=u8::try_from(hosts)?;
        let mut hosts = numbers.map(|number| Host::new(&hub, number)).collect::<Result<Vec<_>>>()?;
        hosts.iter_mut().try_for_each(Host::start_agent)?;
        let targets = hosts.iter().map(Host::name).collect::<Vec<_>>().join(", ");
        let configuration = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: droptrace, static_configs: [{{targets: [{targets}]}}]}}]\n"
        );
        let server = Server::start(&folder, &configuration, &[], |command: &mut Command| {
            hub.run(|| command.spawn().context("starting Prometheus"))
        })?;
        Ok(Self { hosts, server, hub, _folder: folder })
    }

    /// Prometheus' URL, within the hub.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// promtool's output for a query.
    pub(crate) fn ask(&self, query: &str) -> Result<String> {
        let words = ["query", "instant", &self.url(), query];
        let output = self.output(Command::new(program("promtool")?).args(words))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "promtool {words:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A moment for the limits of queries, in seconds since the Unix epoch: after all that came before, it is a whole second
    /// at which the engine had samples of each host with an agent, and no scrape was under way whose sample is dated before
    /// and whose counts are of later.
    pub(crate) fn moment(&self) -> Result<u64> {
        let agents = self.hosts.iter().filter(|host| host.has_agent()).count();
        let mut moment = self.now()? + 1;
        self.until("a moment at which all hosts with agents are up", |scene| {
            let [last, up] = ["min(timestamp(up))".into(), format!("count(up @ {moment} == 1) or vector(0)")];
            if figure(&scene.ask(&last)?).unwrap_or_default() <= f64::from(u32::try_from(moment)?) {
                return Ok(false);
            }
            let are_up = whole(figure(&scene.ask(&up)?)?) == agents as u64;
            if !are_up {
                moment = scene.now()? + 1;
            }
            Ok(are_up)
        })?;
        Ok(moment)
    }

    /// Prometheus' time, in seconds since the Unix epoch.
    pub(crate) fn now(&self) -> Result<u64> {
        Ok(whole(figure(&self.ask("vector(time())")?)?))
    }

    /// Prometheus' count of a host's drops with a reason.
    pub(crate) fn shown(&self, host: &Host, reason: &str) -> Result<u64> {
        let (name, answer) = (host.name(), "or vector(0)");
        let query = format!("sum(droptrace_dropped_packets_total{{instance=\"{name}\",reason=\"{reason}\"}}) {answer}");
        Ok(whole(figure(&self.ask(&query)?)?))
    }

    /// Waits until Prometheus has scraped the expected state.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        while !condition(self)? {
            ensure!(!deadline.has_passed(), "still waiting for {what} after {:?}", deadline.elapsed());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Runs droptrace-fleet where Prometheus can be reached.
    pub(crate) fn fleet(&self, words: &[&str]) -> Result<Output> {
        let program = binary()?.with_file_name("droptrace-fleet");
        if !program.exists() {
            bail!("no {}: build it", program.display());
        }
        self.output(Command::new(program).args(words))
    }

    fn output(&self, command: &mut Command) -> Result<Output> {
        self.hub.run(|| command.output().with_context(|| format!("starting {command:?}")))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, or whole seconds")]
const fn whole(figure: f64) -> u64 {
    figure as u64
}

/// 42 of `{} => 42 @[1700000000.1]`.
fn figure(answer: &str) -> Result<f64> {
    let figure = answer.split_once("=> ").and_then(|(_, rest)| rest.split_whitespace().next());
    figure.context("no figure")?.parse().with_context(|| format!("no figure in {answer}"))
}
