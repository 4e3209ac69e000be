//! Datagrams that find a full receive buffer, or no socket.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Marks, received_and_dropped};
use crate::case::{PORTION, drained, room_for_a_portion};
use crate::netns::Netns;
use crate::soak::gate::Gate;
use crate::storm::Storm;
use crate::wire::udp;
use crate::witness::Witness;

/// Datagrams of a burst of a storm.
const BURST: u64 = 2_000;
/// Datagrams of a storm in a second.
const RATE: u64 = 20_000;

/// A namespace whose loopback interface drops datagrams.
#[derive(Debug)]
pub(super) struct Victim {
    storm: Storm,
    sender: UdpSocket,
    closed: u16,
}

impl Victim {
    /// Sends nothing yet.
    pub(super) fn new(host: Netns, marks: &Marks) -> Result<Self> {
        let storm = Storm::at_port(host, marks.full)?;
        let sender = udp(&storm.host, (Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { storm, sender, closed: marks.closed })
    }

    /// Sends so many datagrams, and a few to a port without a socket. Returns the number of those that the kernel dropped: by its
    /// counters, which has to be what was sent less what arrived.
    pub(super) fn burst(&self, datagrams: u64) -> Result<u64> {
        let refused = (datagrams / 10).clamp(1, PORTION);
        let before = self.counted()?;
        self.storm.send(datagrams)?;
        room_for_a_portion()?;
        for _ in 0..refused {
            // The kernel reports the refusal by the next call.
            _ = self.sender.send_to(&[0; 64], (Ipv4Addr::LOCALHOST, self.closed));
        }
        drained()?;
        // What is unread when the socket is closed would be dropped, too.
        let arrived = self.storm.received()?;
        let dropped = self.counted()? - before;
        let sent = datagrams + refused;
        ensure!(sent == dropped + arrived, "{sent} were sent, {arrived} arrived, the kernel counts {dropped} drops");
        Ok(dropped)
    }

    fn counted(&self) -> Result<u64> {
        let host = &self.storm.host;
        let [full, closed] = ["RcvbufErrors", "NoPorts"].map(|counter| Witness::Snmp("Udp", counter).read(host));
        // A receive queue of a processor may be full as well.
        Ok(full? + closed? + received_and_dropped(host, "lo")?)
    }
}

/// A storm in a namespace of its own for as long as the run lasts. Returns the number of bursts.
pub fn storm(gate: &Gate, marks: &Marks) -> Result<u64> {
    let victim = Victim::new(Netns::new()?, marks)?;
    let mut bursts = 0;
    let mut next = Instant::now();
    while gate.wait_until(next) {
        next = Instant::now() + Duration::from_micros(BURST * 1_000_000 / RATE);
        gate.burst(|| victim.burst(BURST))?;
        bursts += 1;
    }
    Ok(bursts)
}
