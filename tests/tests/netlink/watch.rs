//! Messages as they come, and the positions where some were lost.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::droptrace::{Droptrace, command};
use tests::monitor;
use tests::netns::Netns;
use tests::trials::Unable;

use crate::list;

/// Pairs of interfaces, or datagrams, whose messages do not fit into the small buffer.
const FLOOD: usize = 50;

/// Bytes of the buffers: one is too small for the flood, one is not.
const SMALL: &str = "4096";
const LARGE: &str = "4194304";

/// The family netdev reports new interfaces (6.3 and later).
pub(crate) fn new_interfaces_and_an_overrun_in_order() -> Result<()> {
    let host = Netns::new()?;
    let families = host.run(|| crate::json(&["families"]))?;
    let mut netdev = list(&families, "families")?.iter().filter(|family| family["name"] == "netdev");
    ensure!(netdev.any(|family| family["groups"][0]["name"] == "mgmt"), Unable("no group mgmt of netdev".to_owned()));
    let watchers = host.run(|| Watchers::start("netdev", "mgmt"))?;
    let one = |name| host.command(&format!("ip link add {name} type veth peer name {name}-peer")).map(drop);
    let batch: Vec<_> = (0..FLOOD).map(|n| format!("link add a{n} type veth peer name b{n}\n")).collect();
    let file = std::env::temp_dir().join(format!("droptrace-links-{}", std::process::id()));
    let flood = || {
        fs::write(&file, batch.concat())?;
        let flood = host.command(&format!("ip -batch {}", file.display()));
        fs::remove_file(&file)?;
        flood.map(drop)
    };
    watchers.provoke(2, || one("first"), flood, || one("last"))?;
    watchers.finish(2 * (FLOOD + 2))
}

/// The drop monitor, which droptrace has started, reports datagrams to a port without a listener.
pub(crate) fn alerts_and_an_overrun_in_order() -> Result<()> {
    let _monitor = monitor::exclusively()?;
    let host = Netns::new()?;
    host.command("ip link set lo up")?;
    let socket = host.run(|| Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let send = |datagrams| (0..datagrams).try_for_each(|_| socket.send_to(b"x", (Ipv4Addr::LOCALHOST, 9)).map(drop));
    let watchers = Watchers::start("NET_DM", "events")?;
    let monitor = Droptrace::start(&["trace", "--source", "net-dm", "--net-dm-mode", "packet"])?;
    watchers.provoke(1, || Ok(send(1)?), || Ok(send(FLOOD)?), || Ok(send(1)?))?;
    monitor.finish()?;
    watchers.finish(FLOOD + 2)
}

/// A watcher with a small buffer, and one with a large buffer.
struct Watchers {
    hasty: Droptrace,
    patient: Droptrace,
}

impl Watchers {
    fn start(family: &str, group: &str) -> Result<Self> {
        let start = |buffer| {
            let arguments = ["netlink", "watch", family, "--group", group, "--format", "json", "--buffer", buffer];
            let mut watch = Droptrace::spawn(&mut command(&arguments)?)?;
            watch.await_attached().map(|()| watch)
        };
        Ok(Self { hasty: start(SMALL)?, patient: start(LARGE)? })
    }

    /// Causes one message, then many while the watcher with the small buffer is stopped, then one more. The kernel
    /// reports each event in so many messages.
    fn provoke(
        &self,
        messages: usize,
        first: impl FnOnce() -> Result<()>,
        flood: impl FnOnce() -> Result<()>,
        last: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        first()?;
        self.await_both("the first messages", messages)?;
        self.hasty.signal(Signal::STOP)?;
        // The kernel has sent all messages before the stopped watcher reads: it sends to both at the same time.
        let sent = messages * (FLOOD + 1);
        let flooded = flood().and_then(|()| {
            self.patient.await_printed("all messages of the flood", |text| Ok(lines(text)?.len() >= sent))
        });
        self.hasty.signal(Signal::CONT)?;
        flooded?;
        self.await_both("the overrun, and the messages before it", sent)?;
        last()?;
        self.await_both("the last messages", sent + messages)
    }

    /// Waits until both have printed or counted as lost so many messages, or more, and as many as one another.
    fn await_both(&self, what: &str, messages: usize) -> Result<()> {
        let mut all = 0;
        self.patient.await_printed(what, |text| {
            all = lines(text)?.len();
            Ok(all >= messages)
        })?;
        self.hasty.await_printed(what, |text| Ok(lines(text)?.iter().map(reported).sum::<usize>() >= all))
    }

    /// The overrun is between messages, and with the lost messages the sum is that of all messages: `least` or more.
    fn finish(self, least: usize) -> Result<()> {
        let (shown, all) = (lines(&self.hasty.finish()?.stdout)?, lines(&self.patient.finish()?.stdout)?);
        let is_message = |line: &&Value| line["event"] == "message" && line["whole"] == true;
        let sent = all.len();
        ensure!(all.iter().filter(is_message).count() == sent && sent >= least, "with room for all: {all:?}");
        let overruns: Vec<_> = (0..shown.len()).filter(|index| shown[*index]["event"] == "overrun").collect();
        let [overrun] = overruns[..] else { anyhow::bail!("overruns at {overruns:?} of {}", shown.len()) };
        ensure!(overrun > 0 && overrun + 1 < shown.len(), "the overrun stands at {overrun} of {}", shown.len());
        let messages = shown.iter().filter(is_message).count();
        let lost = shown[overrun]["dropped"].as_u64().context("the line has no number of lost messages")?;
        ensure!(messages + 1 == shown.len(), "{shown:?}");
        ensure!(lost > 0 && lost + messages as u64 == sent as u64, "{lost} lost and {messages} shown of {sent}");
        Ok(())
    }
}

/// Messages that a line stands for: one, or those that an overrun lost.
fn reported(line: &Value) -> usize {
    let lost = line["dropped"].as_u64().and_then(|lost| usize::try_from(lost).ok());
    if line["event"] == "overrun" { lost.unwrap_or(0) } else { 1 }
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("reading {line:?}"))).collect()
}
