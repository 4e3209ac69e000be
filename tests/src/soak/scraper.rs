//! Scrapes of an agent from within its network namespace.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::gate::Gate;
use crate::agent::{Scrape, ask};
use crate::netns::Netns;
use crate::{eventually, patience};

/// Scrapes one agent.
#[derive(Clone, Copy, Debug)]
pub struct Scraper<'n> {
    /// The agent's namespace.
    pub netns: &'n Netns,
    /// Its address there.
    pub address: SocketAddr,
}

impl Scraper<'_> {
    /// The metrics of the last reading.
    pub fn scrape(self) -> Result<Scrape> {
        let answer = self.netns.run(|| {
            let mut stream = TcpStream::connect(self.address).context("connecting to the agent")?;
            stream.set_read_timeout(Some(patience()))?;
            ask(&mut stream, "/metrics", "")
        })?;
        ensure!(answer.status == 200, "{answer:?}");
        Scrape::parse(&answer.body)
    }

    /// The metrics after all earlier drops were counted.
    pub fn settled(self) -> Result<Scrape> {
        let reads = |scrape: &Scrape| scrape.sum("droptrace_reads_total", &[("result", "ok")]);
        let before = reads(&self.scrape()?);
        let mut settled = None;
        eventually("two more readings", || {
            settled = Some(self.scrape()?).filter(|scrape| reads(scrape) >= before + 2);
            Ok(settled.is_some())
        })?;
        settled.context("no scrape")
    }

    /// Scrapes at an interval for as long as the run lasts, and checks the ledger of each scrape. Returns their number.
    pub fn scrape_on(self, gate: &Gate, interval: Duration) -> Result<u64> {
        let mut scrapes = 0;
        let mut next = Instant::now();
        while gate.wait_until(next) {
            next = Instant::now() + interval;
            self.scrape()?.check_sum()?;
            scrapes += 1;
        }
        Ok(scrapes)
    }
}
