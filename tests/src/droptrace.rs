//! The real binary: starts and stops it, and reads its output.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::folder::Folder;
use crate::pace::Deadline;
use crate::trials::Unable;
use crate::{PATIENCE, eventually, kernel};

/// The last words of the line on stderr that reports that the program is attached.
const ATTACHED: &str = "Ctrl-C ends";

/// `DROPTRACE_BIN`, else the binary that cargo built.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("DROPTRACE_BIN") {
        return Ok(path.into());
    }
    built("droptrace")
}

/// `droptrace-fleet`: beside `DROPTRACE_BIN`, else the binary that cargo built.
pub fn fleet_binary() -> Result<PathBuf> {
    const NAME: &str = "droptrace-fleet";
    let Some(path) = env::var_os("DROPTRACE_BIN") else { return built(NAME) };
    let path = Path::new(&path).with_file_name(NAME);
    ensure!(path.exists(), Unable(format!("no {}", path.display())));
    Ok(path)
}

fn built(name: &str) -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let built = ["release", "debug"].map(|profile| target.join(profile).join(name));
    // The newest: an old build of the other profile is easily forgotten.
    let age = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    built
        .into_iter()
        .filter(|path| path.exists())
        .max_by_key(age)
        .with_context(|| format!("no {name}: build it, or name droptrace in DROPTRACE_BIN"))
}

/// A command that runs the binary.
pub fn command(arguments: &[&str]) -> Result<Command> {
    Ok(watched(binary()?, arguments))
}

/// A command that runs `droptrace-fleet`.
pub fn fleet_command(arguments: &[impl AsRef<OsStr>]) -> Result<Command> {
    Ok(watched(fleet_binary()?, arguments))
}

fn watched(program: PathBuf, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program);
    piped(command.args(arguments));
    command
}

/// Lets a command run as [`Droptrace::spawn`] needs it.
pub fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

/// A folder with a copy of `droptrace` that every user may run: the folder of the build may be closed to others.
pub fn copy_for_all() -> Result<Folder> {
    let folder = Folder::new("copy")?;
    fs::set_permissions(folder.join(""), Permissions::from_mode(0o755))?;
    fs::copy(binary()?, folder.join("droptrace"))?;
    Ok(folder)
}

/// A running droptrace; killed with its handle.
#[derive(Debug)]
pub struct Droptrace {
    child: Child,
    stdout: Output,
    stderr: Receiver<String>,
    said: Vec<String>,
}

/// The output, read by a thread while the program runs.
#[derive(Debug, Default)]
struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<std::io::Result<()>>>,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let shared = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let (mut pipe, mut line) = (BufReader::new(pipe), String::new());
            while pipe.read_line(&mut line)? > 0 {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
                line.clear();
            }
            Ok(())
        });
        Self { text, reader: Some(reader) }
    }

    /// Calls `look` with the text so far.
    fn so_far<T>(&self, look: impl FnOnce(&str) -> T) -> T {
        look(&self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the end of the text, and returns all of it.
    fn finish(&mut self) -> Result<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow!("the reader of stdout panicked"))??;
        }
        Ok(self.so_far(str::to_owned))
    }
}

/// The result of a run.
#[derive(Debug)]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// The results.
    pub stdout: String,
    /// Progress messages and warnings.
    pub stderr: String,
}

impl Finished {
    /// Whether the run reported that it is attached.
    pub fn was_attached(&self) -> bool {
        self.stderr.contains(ATTACHED)
    }
}

impl Droptrace {
    /// Starts it and waits until it is attached.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut droptrace = Self::spawn(&mut command(arguments)?)?;
        droptrace.await_attached()?;
        Ok(droptrace)
    }

    /// Starts it and waits for nothing.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let stdout = child.stdout.take().map(Output::of).unwrap_or_default();
        let (sender, stderr) = channel();
        let pipe = child.stderr.take().context("stderr is not piped")?;
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                // The receiver is gone when the handle is gone.
                let _ = sender.send(line);
            }
        });
        Ok(Self { child, stdout, stderr, said: Vec::new() })
    }

    /// Waits until droptrace reports that it is attached.
    pub fn await_attached(&mut self) -> Result<()> {
        self.await_said(ATTACHED).map(drop)
    }

    /// Waits until droptrace prints these words on stderr, from now on. Returns the line that has them.
    pub fn await_said(&mut self, words: &str) -> Result<String> {
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            match self.stderr.recv_timeout(deadline.left()) {
                Ok(line) => {
                    deadline = Deadline::after(PATIENCE);
                    self.said.push(line.clone());
                    if line.contains(words) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !deadline.has_passed() => {}
                Err(RecvTimeoutError::Timeout) => bail!("droptrace does not say {words:?}: {:?}", self.said),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("droptrace ended ({status}) before it said {words:?}: {}", self.said.join("; "));
                }
            }
        }
    }

    /// Whether droptrace has reported by now that it is attached.
    pub fn is_attached(&mut self) -> bool {
        self.has_said(ATTACHED)
    }

    /// Whether droptrace has printed these words on stderr by now.
    pub fn has_said(&mut self, words: &str) -> bool {
        self.said.extend(self.stderr.try_iter());
        self.said.iter().any(|line| line.contains(words))
    }

    /// Waits until the lines that it has printed so far satisfy `condition`.
    ///
    /// # Errors
    /// When they do not for as long as [`eventually`] waits, naming `what`.
    pub fn await_printed(&self, what: &str, mut condition: impl FnMut(&str) -> Result<bool>) -> Result<()> {
        eventually(what, || self.stdout.so_far(&mut condition))
    }

    /// The process id of droptrace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. A process that has ended already is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        // The child is not waited for yet, so the id is still its own.
        kill_process(pid, signal).context("signalling droptrace")
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Result<Finished> {
        let mut status = None;
        eventually("droptrace to end", || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        let status = status.context("no exit status")?;
        let stdout = self.stdout.finish()?;
        self.said.extend(self.stderr.iter());
        Ok(Finished { status, stdout, stderr: self.said.join("\n") })
    }

    /// Sends Ctrl-C. Returns the output.
    pub fn finish(self) -> Result<Finished> {
        self.signal(Signal::INT)?;
        let finished = self.wait()?;
        ensure!(finished.status.success(), "droptrace ended with {}: {}", finished.status, finished.stderr);
        Ok(finished)
    }
}

impl Drop for Droptrace {
    fn drop(&mut self) {
        // Fails when it has ended already, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last document of `droptrace stat --format json`.
#[derive(Debug)]
pub struct Stat(pub Value);

impl Stat {
    /// Runs `stat` while `provocation` does its work.
    pub fn during(arguments: &[&str], provocation: impl FnOnce() -> Result<()>) -> Result<Self> {
        let droptrace = Droptrace::start(&[&["stat", "--format", "json"], arguments].concat())?;
        provocation()?;
        Self::parse(&droptrace.finish()?.stdout)
    }

    /// Reads the output of `stat`, and checks its ledger, in which nothing is lost.
    pub fn parse(stdout: &str) -> Result<Self> {
        let stat = Self::parse_with_losses(stdout)?;
        let lost = stat.lost()?;
        ensure!(lost == 0, "{lost} lost");
        Ok(stat)
    }

    /// Reads the output of `stat`, and checks its ledger.
    pub fn parse_with_losses(stdout: &str) -> Result<Self> {
        let documents: Vec<Value> = serde_json::Deserializer::from_str(stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .with_context(|| format!("reading {stdout:?}"))?;
        let last = documents.into_iter().next_back().context("droptrace printed nothing")?;
        ensure!(last["schema"] == "droptrace.stat.v1", "an unknown schema: {}", last["schema"]);
        let stat = Self(last);
        stat.check_ledger()?;
        Ok(stat)
    }

    /// The eBPF source.
    fn source(&self) -> Result<&Value> {
        let sources = self.0["sources"].as_array().context("no sources")?;
        sources.iter().find(|source| source["source"] == "ebpf").context("no source ebpf")
    }

    /// Drops that the eBPF source could not count.
    pub fn lost(&self) -> Result<u64> {
        let [lost, nested, missed] = ["lost", "nested", "missed"].map(|field| self.ledger(field));
        let (lost, nested, missed) = (lost?, nested?, missed?);
        ensure!(lost == nested + missed, "{lost} lost != {nested} + {missed}");
        Ok(lost)
    }

    /// A field of the eBPF source's ledger.
    pub fn ledger(&self, field: &str) -> Result<u64> {
        let source = self.source()?;
        source["ledger"][field].as_u64().with_context(|| format!("no {field} in {}", source["ledger"]))
    }

    fn check_ledger(&self) -> Result<()> {
        let [hits, accounted, overflow, filtered] =
            ["hits", "accounted", "overflow", "filtered"].map(|field| self.ledger(field));
        let (hits, accounted, overflow, filtered) = (hits?, accounted?, overflow?, filtered?);
        ensure!(hits == accounted + overflow + filtered, "{hits} hits != {accounted} + {overflow} + {filtered}");
        let qdisc_unmatched = &self.source()?["ledger"]["qdisc_unmatched"];
        ensure!(
            qdisc_unmatched.is_null() || *qdisc_unmatched == 0,
            "{qdisc_unmatched} exact reasons of qdiscs got lost"
        );
        let shown: u64 = self.drops()?.iter().map(|drop| drop.packets).sum();
        ensure!(shown == accounted, "the drops shown are {shown}, accounted are {accounted}");
        Ok(())
    }

    /// The counters of a namespace that rose outside `kfree_skb`, with the packets.
    pub fn outside(&self, netns: u32) -> Result<Vec<(String, u64)>> {
        let counters = self.0["outside"]["counters"].as_array().context("no counters")?;
        let is_outside = |counter: &&Value| counter["outside"].as_u64().is_some_and(|packets| packets > 0);
        let of_netns = counters.iter().filter(|counter| counter["netns"] == netns).filter(is_outside);
        of_netns
            .map(|counter| {
                let name = counter["counter"].as_str().context("no name")?;
                Ok((name.to_owned(), counter["outside"].as_u64().context("no number")?))
            })
            .collect()
    }

    /// The SYNs that sockets of a namespace refused; 0 where they are not counted by socket.
    pub fn refused(&self, netns: u32) -> u64 {
        let rows = self.0["refused_syns"]["listeners"].as_array().into_iter().flatten();
        rows.filter(|row| row["netns"] == netns).filter_map(|row| row["packets"].as_u64()).sum()
    }

    /// The drops of packets, then those that are no packets of a network.
    pub fn drops(&self) -> Result<Vec<Drops>> {
        let rows = ["drops", "not_packets"].map(|list| self.0[list].as_array().with_context(|| format!("no {list}")));
        let [packets, others] = rows;
        packets?.iter().chain(others?).map(Drops::parse).collect()
    }

    /// The drops of one reason; all where this kernel gives none.
    pub fn drops_of(&self, reason: &'static str) -> Result<Vec<Drops>> {
        let shown = kernel::reason(reason)?.shown();
        Ok(self.drops()?.into_iter().filter(|drop| drop.reason.as_deref() == shown).collect())
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    /// The drop reason; absent where this kernel reports none.
    pub reason: Option<String>,
    /// The function that dropped the packets.
    pub symbol: Option<String>,
    /// The interface of the drops.
    pub interface: Option<String>,
    /// The interface's index; 0 where there is none.
    pub ifindex: u64,
    /// The network namespace of the drops.
    pub netns: u64,
    /// The protocol of the packets.
    pub protocol: Option<String>,
    /// The control group of the packets' socket; absent without one, and where owners are not asked for.
    pub cgroup: Option<String>,
    /// The role of that socket, likewise.
    pub socket_role: Option<String>,
    /// The number of packets.
    pub packets: u64,
}

impl Drops {
    fn parse(row: &Value) -> Result<Self> {
        let text = |field: &str| row[field].as_str().map(str::to_owned);
        Ok(Self {
            reason: text("reason"),
            symbol: text("symbol"),
            interface: text("interface"),
            ifindex: row["ifindex"].as_u64().unwrap_or(0),
            netns: row["netns"].as_u64().unwrap_or(0),
            protocol: text("protocol"),
            cgroup: text("cgroup"),
            socket_role: text("socket_role"),
            packets: row["packets"].as_u64().with_context(|| format!("no packets in {row}"))?,
        })
    }
}
