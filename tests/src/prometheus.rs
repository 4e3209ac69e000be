//! Prometheus with its tool, Alertmanager and `VictoriaMetrics`, where this machine has them.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::folder::Folder;
use crate::trials::Unable;
use crate::{eventually, patience};

/// The text before the listening address in Prometheus' log.
const LISTENING: &str = "msg=\"Listening on\" address=";

/// `prometheus` or `promtool`: what `cargo xtask test` fetched, else the one installed.
///
/// # Errors
/// [`Unable`] when there is none that starts.
pub fn program(name: &str) -> Result<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/prometheus/usr/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let starts =
        |program: &PathBuf| Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success());
    let found = [fetched].into_iter().chain(env::split_paths(&path)).map(|folder| folder.join(name)).find(starts);
    Ok(found.ok_or_else(|| Unable(format!("no {name}: cargo xtask test fetches it, where there is apt")))?)
}

/// Runs promtool. Its failure is an error with its output.
pub fn promtool(arguments: &[&str]) -> Result<Output> {
    let output = Command::new(program("promtool")?).args(arguments).output().context("starting promtool")?;
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    ensure!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    Ok(output)
}

/// A running Prometheus; killed with its handle.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts it over the data in `folder`, with this configuration, listening on a free port of loopback. `spawn`
    /// starts the command: in a network namespace, say.
    pub fn start(
        folder: &Folder,
        configuration: &str,
        options: &[&str],
        spawn: impl FnOnce(&mut Command) -> Result<Child>,
    ) -> Result<Self> {
        let configuration = folder.write("prometheus.yml", configuration)?;
        let mut command = Command::new(program("prometheus")?);
        command
            .arg(format!("--config.file={configuration}"))
            .arg(format!("--storage.tsdb.path={}", folder.path("data")))
            .args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=100y"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let stderr = child.stderr.take().context("stderr is not piped")?;
        let mut server = Self { child, address: String::new() };
        server.address = listening(stderr)?;
        Ok(server)
    }

    /// Where it answers, from within its namespace.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended already, which is well.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The command of Alertmanager. Debian's reads a template of `/usr/share`: one that was fetched sees its own files there.
fn alertmanager() -> Result<Command> {
    const NAME: &str = "prometheus-alertmanager";
    const TEMPLATE: &str = "prometheus/alertmanager/default.tmpl";
    const START: &str = "mount --bind \"$1\" /usr/share && shift && exec \"$@\"";
    let program = program(NAME)?.canonicalize()?;
    let share = program.ancestors().nth(2).map(|usr| usr.join("share")).filter(|share| share.join(TEMPLATE).exists());
    let mut command = Command::new("unshare");
    match share {
        Some(share) => command.args(["--mount", "sh", "-c", START, "sh"]).args([share, program]),
        None => command.arg("--mount").arg(program),
    };
    Ok(command)
}

/// A running Alertmanager; killed with its handle.
#[derive(Debug)]
pub struct Alertmanager {
    child: Child,
    /// Where it answers.
    pub url: String,
    _folder: Folder,
}

impl Alertmanager {
    /// Starts it without a receiver, alone, listening on a free port of loopback.
    pub fn start() -> Result<Self> {
        let folder = Folder::new("alertmanager")?;
        let configuration =
            folder.write("alertmanager.yml", "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")?;
        let mut child = alertmanager()?
            .arg(format!("--config.file={configuration}"))
            .arg(format!("--storage.path={}", folder.path("data")))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting Alertmanager")?;
        let stderr = child.stderr.take().context("stderr is not piped")?;
        let mut alertmanager = Self { child, url: String::new(), _folder: folder };
        alertmanager.url = format!("http://{}", listening(stderr)?);
        Ok(alertmanager)
    }

    /// The alerts that it has and that are not over, as its API shows them.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        let url = format!("{}/api/v2/alerts", self.url);
        let text = ureq::get(&url).call().context("asking Alertmanager")?.body_mut().read_to_string()?;
        serde_json::from_str(&text).with_context(|| format!("reading {text}"))
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // Fails when it has ended already, which is well.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A running `VictoriaMetrics`; killed with its handle.
#[derive(Debug)]
pub struct VictoriaMetrics {
    child: Child,
    /// Where it answers.
    pub url: String,
    _folder: Folder,
}

impl VictoriaMetrics {
    /// Starts it with nothing in its storage, and waits until it answers.
    pub fn start() -> Result<Self> {
        let folder = Folder::new("victoria-metrics")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(program("victoria-metrics")?)
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", folder.path("data")))
            .args(["-retentionPeriod=100y", "-search.disableCache"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting VictoriaMetrics")?;
        let engine = Self { child, url: format!("http://{address}"), _folder: folder };
        eventually("VictoriaMetrics", || Ok(engine.post("/internal/force_flush", "").is_ok()))?;
        Ok(engine)
    }

    /// Takes metrics in Prometheus' text format, with times in milliseconds, and shows them from now on.
    pub fn import(&self, text: &str) -> Result<()> {
        self.post("/api/v1/import/prometheus", text)?;
        self.post("/internal/force_flush", "")
    }

    fn post(&self, path: &str, body: &str) -> Result<()> {
        ureq::post(format!("{}{path}", self.url)).send(body).with_context(|| format!("posting to {path}")).map(drop)
    }
}

impl Drop for VictoriaMetrics {
    fn drop(&mut self) {
        // Fails when it has ended already, which is well.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The listening address from Prometheus' log. All lines are read to the end, so that Prometheus never waits for a
/// reader.
fn listening(stderr: impl std::io::Read + Send + 'static) -> Result<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once(LISTENING) {
                // The receiver is gone when the handle is gone.
                _ = sender.send(Ok(address.trim().to_owned()));
            }
            if said.len() < 20 {
                said.push(line);
            }
        }
        _ = sender.send(Err(said.join("; ")));
    });
    match receiver.recv_timeout(patience()) {
        Ok(Ok(address)) => Ok(address),
        Ok(Err(said)) => bail!("Prometheus ended before it listened: {said}"),
        Err(_) => bail!("Prometheus does not say that it listens"),
    }
}
