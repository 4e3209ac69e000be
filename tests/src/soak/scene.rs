//! The agent of a run, with its namespace, its file of options and its history.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::Plan;
use super::load::Marks;
use crate::agent::Agent;
use crate::droptrace::piped;
use crate::folder::Folder;
use crate::netns::Netns;

/// What an agent runs in.
#[derive(Debug)]
pub(super) struct Scene {
    /// The agent's namespace.
    pub(super) host: Netns,
    plan: Plan,
    folder: Folder,
    filter: String,
}

impl Scene {
    /// Starts nothing yet.
    pub(super) fn new(plan: &Plan, marks: &Marks) -> Result<Self> {
        let host = Netns::new()?;
        host.command("ip link set lo up")?;
        let scene = Self { host, plan: plan.clone(), folder: Folder::new("soak")?, filter: marks.filter() };
        scene.write_options(plan.interval())?;
        Ok(scene)
    }

    /// Starts the agent.
    pub(super) fn start(&self) -> Result<Agent> {
        let options = self.folder.path("agent.toml");
        let mut command = Command::new(&self.plan.droptrace);
        piped(command.args(["agent", "--config", &options]));
        self.host.run(|| Agent::spawn(&mut command))
    }

    fn write_options(&self, interval: Duration) -> Result<()> {
        let Self { folder, filter, plan, .. } = self;
        let [history, options] = ["history", "agent.toml"].map(|name| folder.path(name));
        let (interval, expire) = (interval.as_millis(), (plan.duration / 10).as_millis());
        let text = format!(
            "listen = \"127.0.0.1:0\"\ninterval = \"{interval}ms\"\nexpire-after = \"{expire}ms\"\n\
             owners = \"container\"\nhistory = \"{history}\"\nhistory-size = \"8G\"\nhistory-age = \"30d\"\nfilter = \"{filter}\"\n"
        );
        std::fs::write(options, text).context("writing the agent's options")
    }

    /// Lets the agent read its options again, which have changed; with `is_wrong` they are wrong, and the agent has to keep those
    /// that it has.
    pub(super) fn reload(&self, agent: &mut Agent, number: u64, is_wrong: bool) -> Result<()> {
        let answer = if is_wrong {
            self.folder.write("agent.toml", "no-such-option = true\n")?;
            "reload failed, keeping the previous configuration"
        } else {
            self.write_options(self.plan.interval() * if number.is_multiple_of(2) { 9 } else { 10 } / 10)?;
            "reloaded the files"
        };
        agent.droptrace.signal(Signal::HUP)?;
        agent.droptrace.await_said(answer).map(drop)
    }

    /// Ends the agent. Returns the drops in its history.
    pub(super) fn finish(&self, agent: Agent) -> Result<u64> {
        agent.finish()?;
        let mut command = Command::new(&self.plan.droptrace);
        let history = self.folder.path("history");
        command.args(["stat", "--format", "json", "--history", &history, "--since", "-30d"]);
        let output = command.output().context("starting droptrace stat")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "reading the history: {}: {said}", output.status);
        let document: Value = serde_json::from_slice(&output.stdout).context("reading the totals of the history")?;
        let ledger = &document["sources"][0]["ledger"];
        let [accounted, overflow] = ["accounted", "overflow"].map(|account| ledger[account].as_u64());
        Ok(accounted.context("no accounted drops")? + overflow.context("no overflow")?)
    }
}
