//! A storm of drops: datagrams to a socket whose receive buffer is full, each dropped as `SOCKET_RCVBUFF`.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::sys;

/// Bytes of each datagram.
pub const PAYLOAD: usize = 64;
/// Datagrams of one system call.
const BATCH: usize = 64;

/// A sender and the socket that nobody reads, in the network namespace where they were made.
#[derive(Debug)]
pub struct Storm {
    sender: UdpSocket,
    /// Holds what fits in, which are the first datagrams; all others are dropped.
    full: UdpSocket,
}

impl Storm {
    /// Opens both on the loopback, with the smallest receive buffer, and fills it.
    pub fn new() -> Result<Self> {
        let full = UdpSocket::bind("127.0.0.1:0").context("binding the receiver")?;
        sys::set_option(&full, libc::SOL_SOCKET, libc::SO_RCVBUF, &1_i32.to_ne_bytes())?;
        let sender = UdpSocket::bind("127.0.0.1:0").context("binding the sender")?;
        sender.connect(full.local_addr()?)?;
        Ok(Self { sender, full })
    }

    /// Sends exactly `datagrams` as fast as it goes, and tells how long that took.
    pub fn send(&self, datagrams: usize) -> Result<Duration> {
        let started = Instant::now();
        let mut sent = 0;
        while sent < datagrams {
            let batch = sys::send_copies(&self.sender, &[0; PAYLOAD], BATCH.min(datagrams - sent))?;
            ensure!(batch > 0, "the kernel took none of the datagrams");
            sent += batch;
        }
        Ok(started.elapsed())
    }

    /// Datagrams that the receive buffer had room for. Takes them out.
    pub fn received(&self) -> Result<u64> {
        self.full.set_nonblocking(true)?;
        let mut buffer = [0; PAYLOAD];
        let mut received = 0;
        while self.full.recv(&mut buffer).is_ok() {
            received += 1;
        }
        Ok(received)
    }
}

/// Keeps the calling thread, and those that it starts, on one CPU.
pub fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("staying on CPU {cpu}"))
}
