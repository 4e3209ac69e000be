//! Receives the alerts, counts them, and keeps the ledger.

use tracer_common::{IFNAMSIZ, InterfaceName};

use super::filter::AlertFilter;
use super::message::{Message, PacketAlert, SummaryAlert};
use super::totals::{Cause, Count, Key, Totals};
use super::{Error, Options};
use crate::backend::batch::Batch;
use crate::domain::event::Timestamp;
use crate::domain::ledger::NetDmLedger;
use crate::kernel::clock::Clock;
use crate::netlink::wire;
use crate::netlink::{self, Received, Receiver, Socket};

/// Number of datagrams that one call receives.
const BATCH: usize = 64;

/// Bytes of an alert besides the packet's bytes: headers, names, a symbol and a cookie.
const AROUND_PAYLOAD: usize = 1024;

/// The longest payload (`NET_DM_MAX_PACKET_SIZE`).
const MAX_PAYLOAD: usize = 0xffff - 8;

/// The drop monitor's report of one packet; the packet's bytes begin at the MAC header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Aggregation key of the drop.
    pub key: Key,
    /// Name of the interface where the packet came in, padded with zeros; all zeros where there is none.
    pub interface: InterfaceName,
    /// Time of the drop.
    pub timestamp: Timestamp,
    /// Bytes of the packet.
    pub length: u32,
}

impl Report {
    /// The interface's name, if there is one.
    pub fn interface(&self) -> Option<&str> {
        let length = self.interface.iter().position(|byte| *byte == 0).unwrap_or(IFNAMSIZ);
        std::str::from_utf8(&self.interface[..length]).ok().filter(|name| !name.is_empty())
    }
}

/// The socket that receives alerts, and their counts.
pub(super) struct Stream {
    socket: Socket,
    receiver: Receiver,
    slot: usize,
    /// The socket may hold further alerts.
    has_more: bool,
    /// Drops of the socket before the start, modulo 2³².
    dropped_before: Option<u32>,
    count: Counting,
}

/// The state that alerts change.
struct Counting {
    totals: Totals,
    ledger: NetDmLedger,
    ifindex: u32,
    filter: Option<AlertFilter>,
    /// Leading bytes of each packet that reports have, of those that a filter sees; 0 for all.
    snaplen: usize,
    summaries: u64,
}

impl Stream {
    pub(super) fn new(socket: Socket, options: &Options, trunc_len: u32) -> Result<Self, Error> {
        let slot = slot(trunc_len);
        let filter = options.filter.clone().map(AlertFilter::new).transpose().map_err(Error::Explanations)?;
        Ok(Self {
            receiver: Receiver::new(BATCH, slot),
            slot,
            has_more: false,
            dropped_before: socket.dropped().ok(),
            count: Counting {
                totals: Totals::new(options.keys),
                ledger: NetDmLedger::default(),
                ifindex: options.ifindex,
                snaplen: if filter.is_some() { options.snaplen as usize } else { 0 },
                filter,
                summaries: 0,
            },
            socket,
        })
    }

    /// Makes room for what the monitor sends under its new settings.
    pub(super) fn fit(&mut self, trunc_len: u32) {
        if slot(trunc_len) > self.slot {
            self.slot = slot(trunc_len);
            self.receiver = Receiver::new(BATCH, self.slot);
        }
    }

    pub(super) const fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) const fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) const fn totals(&self) -> &Totals {
        &self.count.totals
    }

    /// Whether no summary has come. The kernel does not count the drops that a summary leaves out.
    pub(super) const fn has_packets_only(&self) -> bool {
        self.count.summaries == 0
    }

    /// Waits until there may be alerts.
    pub(super) async fn ready(&self) -> Result<(), netlink::Error> {
        if self.has_more {
            // Other tasks have their turn.
            tokio::task::yield_now().await;
            return Ok(());
        }
        self.socket.readable().await.map_err(|source| netlink::Error::Receive { source })
    }

    /// Adds the waiting alerts to `batch`, about `limit` datagrams, until the batch is full.
    pub(super) fn read(&mut self, batch: &mut Batch<Report>, limit: usize) -> Result<(), netlink::Error> {
        let mut taken = 0;
        self.has_more = true;
        while taken < limit && !batch.is_full() {
            match self.receiver.receive(&self.socket).map_err(|source| netlink::Error::Receive { source })? {
                Received::Datagrams(datagrams) => taken += datagrams,
                Received::Overrun => self.count.ledger.overruns += 1,
                Received::Nothing => {
                    self.has_more = false;
                    break;
                }
            }
            for datagram in self.receiver.datagrams() {
                self.count.datagram(&datagram, batch);
            }
        }
        Ok(())
    }

    /// The ledger, as far as alerts report it.
    pub(super) fn ledger(&self) -> NetDmLedger {
        let dropped = self.socket.dropped().ok().zip(self.dropped_before);
        let socket_drops = dropped.map(|(now, before)| u64::from(now.wrapping_sub(before)));
        NetDmLedger { socket_drops, ..self.count.ledger }
    }
}

fn slot(trunc_len: u32) -> usize {
    let payload = if trunc_len == 0 { MAX_PAYLOAD } else { MAX_PAYLOAD.min(trunc_len as usize) };
    wire::align(AROUND_PAYLOAD + payload)
}

/// A name as the kernel keeps it; all zeros for a name that the kernel cannot have.
fn padded(name: &str) -> InterfaceName {
    let mut padded = [0; IFNAMSIZ];
    if let Some(room) = padded.get_mut(..name.len()) {
        room.copy_from_slice(name.as_bytes());
    }
    padded
}

impl Counting {
    fn datagram(&mut self, datagram: &netlink::Datagram<'_>, batch: &mut Batch<Report>) {
        if datagram.is_truncated {
            self.ledger.received += 1;
            self.ledger.undecodable += 1;
            return;
        }
        for message in wire::messages(datagram.bytes) {
            self.ledger.received += 1;
            let parsed = message.and_then(|message| {
                let (command, attributes) = message.generic()?;
                Message::parse(command, attributes)
            });
            let Ok((message, skipped)) = parsed else {
                self.ledger.undecodable += 1;
                continue;
            };
            self.ledger.delivered += 1;
            self.ledger.skipped_attributes += u64::from(skipped);
            match message {
                Message::Packet(alert) => self.packet(&alert, batch),
                Message::Summary(alert) => self.summary(&alert),
                // Answers come through another socket, and commands of future kernels are no drops.
                Message::Config(_) | Message::Stats(_) | Message::Unknown(_) => {}
            }
        }
    }

    fn packet(&mut self, alert: &PacketAlert<'_>, batch: &mut Batch<Report>) {
        self.ledger.drops += 1;
        if !self.is_wanted(alert) {
            self.ledger.filtered += 1;
            return;
        }
        let seen = Timestamp(alert.timestamp_ns);
        let key = self.totals.key(alert);
        self.count(key, &Count { packets: 1, bytes: Some(alert.length.into()), first_seen: seen, last_seen: seen });
        let interface = alert.interface.map_or([0; IFNAMSIZ], padded);
        let kept = if self.snaplen == 0 { alert.payload.len() } else { self.snaplen.min(alert.payload.len()) };
        batch.push(Report { key, interface, timestamp: seen, length: alert.length }, &alert.payload[..kept]);
    }

    /// Whether no filter leaves the packet out.
    fn is_wanted(&mut self, alert: &PacketAlert<'_>) -> bool {
        let is_elsewhere = self.ifindex != 0 && alert.ifindex != self.ifindex;
        !is_elsewhere && self.filter.as_mut().is_none_or(|filter| filter.matches(alert))
    }

    fn summary(&mut self, alert: &SummaryAlert<'_>) {
        self.summaries += 1;
        self.ledger.at_limit += u64::from(alert.is_at_limit());
        let seen = Clock::now();
        let count = |packets: u32| Count { packets: packets.into(), bytes: None, first_seen: seen, last_seen: seen };
        for (pc, hits) in alert.sites() {
            if pc == 0 {
                self.ledger.device_hints += u64::from(hits);
                continue;
            }
            self.hits(Key { pc, cause: Cause::Absent, ifindex: 0, protocol: 0 }, &count(hits));
        }
        for (name, packets) in alert.traps() {
            let cause = self.totals.trap(name, None);
            self.hits(Key { pc: 0, cause, ifindex: 0, protocol: 0 }, &count(packets));
        }
    }

    /// Counts drops that a summary reports. Another process may have changed the mode: then a filter has nothing to test,
    /// and no drop matches.
    fn hits(&mut self, key: Key, count: &Count) {
        self.ledger.drops += count.packets;
        if self.filter.is_some() {
            self.ledger.filtered += count.packets;
        } else {
            self.count(key, count);
        }
    }

    fn count(&mut self, key: Key, count: &Count) {
        if self.totals.add(key, count) {
            self.ledger.accounted += count.packets;
        } else {
            self.ledger.overflow += count.packets;
        }
    }
}

#[cfg(test)]
mod tests;
