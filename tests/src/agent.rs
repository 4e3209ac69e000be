//! A running `droptrace agent`, and its scrapes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::droptrace::{Droptrace, Finished, command};
use crate::{eventually, patience};

/// A running agent; killed with its handle.
#[derive(Debug)]
pub struct Agent {
    /// The agent's process.
    pub droptrace: Droptrace,
    /// The address that the agent serves on.
    pub address: SocketAddr,
}

impl Agent {
    /// Starts an agent on a port of its own that reads every few milliseconds, and waits until it serves.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let listen: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        Self::spawn(&mut command(&[&["agent", "--interval", "20ms"], listen, arguments].concat())?)
    }

    /// Starts an agent by this command, and waits until it serves.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let mut droptrace = Droptrace::spawn(command)?;
        let line = droptrace.await_said("Ctrl-C ends")?;
        let address = line.split_once("://").and_then(|(_, rest)| rest.split_once("/metrics"));
        let address = address.with_context(|| format!("no address in {line:?}"))?.0.parse()?;
        Ok(Self { droptrace, address })
    }

    /// A request's answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.get_with(path, "")
    }

    /// A request's answer; `headers` are whole lines.
    pub fn get_with(&self, path: &str, headers: &str) -> Result<Answer> {
        let mut stream = self.connect()?;
        ask(&mut stream, path, headers)
    }

    /// A connection to the agent.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address).context("connecting to the agent")?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        Ok(stream)
    }

    /// The metrics of the last reading.
    pub fn scrape(&self) -> Result<Scrape> {
        let answer = self.get("/metrics")?;
        ensure!(answer.status == 200, "{answer:?}");
        Scrape::parse(&answer.body)
    }

    /// The metrics after all earlier drops were counted.
    pub fn settled(&self) -> Result<Scrape> {
        let reads = |scrape: &Scrape| scrape.sum("droptrace_reads_total", &[("result", "ok")]);
        let before = reads(&self.scrape()?);
        let mut settled = None;
        eventually("two more readings", || {
            settled = Some(self.scrape()?).filter(|scrape| reads(scrape) >= before + 2);
            Ok(settled.is_some())
        })?;
        settled.context("no scrape")
    }

    /// Asks the agent to end. Returns its output.
    pub fn finish(self) -> Result<Finished> {
        self.droptrace.signal(Signal::TERM)?;
        let finished = self.droptrace.wait()?;
        ensure!(finished.status.success(), "the agent ended with {}: {}", finished.status, finished.stderr);
        ensure!(!finished.stderr.contains("panicked"), "it panics: {}", finished.stderr);
        Ok(finished)
    }
}

/// Sends a request and reads the answer to its end, which closes the connection.
pub fn ask(stream: &mut (impl Read + Write), path: &str, headers: &str) -> Result<Answer> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\n{headers}\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("reading the agent's answer")?;
    Answer::parse(&text).with_context(|| format!("no answer: {text:?}"))
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The status code, such as `200`.
    pub status: u16,
    /// All header lines but the first.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let (first, headers) = head.split_once("\r\n")?;
        let answer =
            Self { status: first.split(' ').nth(1)?.parse().ok()?, headers: headers.to_owned(), body: body.to_owned() };
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        // An answer that was cut is no answer.
        (length == body.len().to_string()).then_some(answer)
    }
}

/// The samples of one scrape.
#[derive(Debug)]
pub struct Scrape(pub Vec<Sample>);

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name with its suffix.
    pub name: String,
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The value, exact up to 2⁵³.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(each, _)| each == name).map_or("", |(_, value)| value)
    }

    fn parse(line: &str) -> Option<Self> {
        let (name_and_labels, value) = line.rsplit_once(' ')?;
        let (name, labels) = name_and_labels
            .strip_suffix('}')
            .and_then(|name_and_labels| name_and_labels.split_once('{'))
            .unwrap_or((name_and_labels, ""));
        // The agent's labels hold neither quotes nor commas beside quotes.
        let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once("=\"")?;
            Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        Some(Self { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
    }
}

impl Scrape {
    /// Reads the text format.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| Sample::parse(line).with_context(|| format!("no sample: {line}")));
        Ok(Self(samples.collect::<Result<_>>()?))
    }

    /// Samples of this name with these values of labels.
    pub fn of<'s>(&'s self, name: &'s str, labels: &'s [(&str, &str)]) -> impl Iterator<Item = &'s Sample> {
        let fits = |sample: &&Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        self.0.iter().filter(move |sample| sample.name == name).filter(fits)
    }

    /// The only sample of this name, or the first.
    pub fn one(&self, name: &str) -> Result<&Sample> {
        self.0.iter().find(|sample| sample.name == name).with_context(|| format!("no {name}"))
    }

    /// The sum of the samples with this name and these labels.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are counts")]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.of(name, labels).map(|sample| sample.value).sum::<f64>() as u64
    }

    /// Checks that the sum of all series equals the ledger.
    pub fn check_sum(&self) -> Result<()> {
        let series = self.sum("droptrace_dropped_packets_total", &[]) + self.sum("droptrace_not_packets_total", &[]);
        let ledger = |account| self.sum("droptrace_ledger_drops_total", &[("account", account)]);
        let (accounted, overflow) = (ledger("accounted"), ledger("overflow"));
        ensure!(series == accounted + overflow, "all series are {series}, the ledger {accounted} + {overflow}");
        Ok(())
    }
}
