//! `droptrace rule`: which firewall rules drop packets, by the kernel's own trace.

mod json;
mod report;
mod text;

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use report::{Report, Row};
use rustix::thread::CapabilitySet;

use super::args::{Format, RuleArgs};
use crate::advice::entrance_of_text;
use crate::explain::Entrance;
use crate::identity::entrance::entrance;
use crate::identity::netns::{self, Namespaces, Target};
use crate::kernel::privileges;
use crate::netlink::wire::{self, Malformed, Message};
use crate::netlink::{self, Received, Receiver, Socket};
use crate::nftables::changes::Change;
use crate::nftables::conntrack::Conntrack;
use crate::nftables::selection::Selection;
use crate::nftables::tally::{RuleId, Tally};
use crate::nftables::trace::Trace;
use crate::nftables::{self, NftablesError, OwnTable, Sampled, TABLE, ruleset};
use crate::outside::{printable, say};
use crate::render::output::Output;
use crate::run::{Stop, host};

/// The size in bytes of the receive buffer. A message takes about 1 KiB of it.
const BUFFER: usize = 16 << 20;
/// The size in bytes of a slot: the kernel puts notifications of changes together up to `NLMSG_GOODSIZE`, which is less.
const SLOT: usize = 8192;
const SLOTS: usize = 64;

/// Traces packets until the time is over, and shows the rules that dropped some.
pub(super) async fn run(args: &RuleArgs) -> Result<()> {
    let output = Output::open(args.results.file.output.as_deref())?;
    let mut stop = Stop::new(Some(args.duration))?.while_read(&output);
    let target = netns::parse_target(&args.netns)?;
    let mut tracing = Tracing::start(args, &target).await?;
    let inum = target.inum;
    // The namespace may end while it is traced.
    drop(target);
    let netns_name = Namespaces::new().name(inum);
    // To find a process in the namespace takes capabilities that are given up below.
    let entrance = way_in(&args.netns, inum);
    announce(args, tracing.table.is_owned, netns_name.as_deref().unwrap_or(&inum.to_string()));
    if let Err(error) = privileges::drop_unneeded(CapabilitySet::NET_ADMIN) {
        tracing::warn!("the capabilities that tracing does not need could not be given up: {error}");
    }
    stop.start_clock();
    let started = Instant::now();
    let mut tally = Tally::new(args.filter.as_ref());
    let watched = watch(&tracing.socket, &mut tally, &mut stop).await;
    let duration = started.elapsed();
    let ended = tracing.end(tally).await;
    let is_owned = tracing.table.is_owned;
    let removed = tracing.table.remove().await;
    watched?;
    let (rows, ledger) = ended?;
    let conntrack = tracing.conntrack.as_mut().and_then(Conntrack::rise);
    if let Err(error) = removed {
        tracing::warn!("the nftables table {TABLE} could not be deleted: {error}");
    }
    let report = Report {
        host: host(),
        netns: inum,
        netns_name,
        entrance,
        filter: args.filter.as_ref().map(ToString::to_string),
        duration,
        limit: args.limit.get(),
        is_owned,
        ledger,
        conntrack,
        rows,
    };
    match args.results.format {
        Format::Text => text::write(&mut output.clone(), &report)?,
        Format::Json => json::write(&mut output.clone(), &report)?,
    }
    Ok(output.finish()?)
}

/// What is needed while packets are traced.
struct Tracing {
    socket: Socket,
    table: OwnTable,
    /// The counters of all rules at the start.
    counters: HashMap<RuleId, u64>,
    /// Absent where the kernel does not show the counters of connection tracking.
    conntrack: Option<Conntrack>,
}

impl Tracing {
    async fn start(args: &RuleArgs, target: &Target) -> Result<Self> {
        let namespace = target.namespace()?;
        let socket = nftables::trace_socket(namespace.as_fd()).map_err(|error| explained(error.into()))?;
        if let Err(error) = socket.set_receive_buffer(BUFFER) {
            tracing::warn!("a smaller buffer for the trace: {error}");
        }
        let selection = Selection::of(args.filter.as_ref());
        let made = OwnTable::make(namespace.as_fd(), &selection, args.limit.get()).await;
        let mut table = made.map_err(explained)?;
        let conntrack = Conntrack::open(namespace.as_fd());
        match ruleset::counters(table.connection()).await {
            Ok(counters) => Ok(Self { socket, table, counters, conntrack }),
            Err(error) => {
                // The first error says more.
                _ = table.remove().await;
                Err(error.into())
            }
        }
    }

    /// Ends the marking of packets, and asks for the rules that dropped some.
    async fn end(&mut self, mut tally: Tally<'_>) -> Result<(Vec<Row>, report::Ledger)> {
        let gone = || format!("the nftables table {TABLE} changed during the run: did somebody flush the ruleset?");
        let sampled = self.table.end().await.with_context(gone)?;
        let mut receiver = Receiver::new(SLOTS, SLOT);
        while receive(&self.socket, &mut receiver, &mut tally)? {}
        let ledger = self.ledger(sampled, &tally);
        let mut rows = Vec::new();
        for drops in tally.rows() {
            if !tally.is_current(&drops) {
                rows.push(Row::of_replaced_table(drops));
                continue;
            }
            let rule = ruleset::of_id(self.table.connection(), &drops.rule).await?;
            let hook = ruleset::hook(self.table.connection(), &drops.rule).await?;
            let now = rule.as_ref().and_then(|rule| rule.counter);
            let before = self.counters.get(&drops.rule).filter(|_| drops.epoch == 0);
            let rise = now.zip(before).and_then(|(now, before)| now.checked_sub(*before));
            rows.push(Row { drops, rule, hook, rise, is_replaced: false });
        }
        // The table may have changed before its rules were read.
        let generation = ruleset::generation(self.table.connection()).await?;
        while receive(&self.socket, &mut receiver, &mut tally)? {}
        if generation != tally.changes.generation() {
            tally.changes.everywhere();
        }
        let rows = rows
            .into_iter()
            .map(|row| if tally.is_current(&row.drops) { row } else { Row::of_replaced_table(row.drops) });
        Ok((rows.collect(), ledger))
    }

    fn ledger(&self, sampled: Sampled, tally: &Tally<'_>) -> report::Ledger {
        report::Ledger { sampled, trace: tally.ledger(), lost: self.socket.dropped().ok() }
    }
}

/// Adds the cause, where the kernel's answer tells which one it is.
fn explained(error: NftablesError) -> anyhow::Error {
    let cause = match (&error, error.errno()) {
        // Only the way into another namespace is refused so.
        (NftablesError::Netlink(netlink::Error::Open { .. }), Some(libc::EPERM)) => {
            ": to enter another network namespace needs CAP_SYS_ADMIN"
        }
        (_, Some(libc::EPERM)) => ": this needs CAP_NET_ADMIN in the network namespace",
        (_, Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP)) => ": this takes a kernel with nf_tables",
        _ => "",
    };
    anyhow::Error::from(error).context(format!("cannot trace packets with nftables here{cause}"))
}

/// The way into the namespace; by the text of the option where neither a name nor a process leads there.
fn way_in(asked: &str, inum: u32) -> Entrance {
    match entrance(inum) {
        Entrance::Unknown => entrance_of_text(asked),
        found => found,
    }
}

fn announce(args: &RuleArgs, is_owned: bool, netns: &str) {
    let end = if is_owned {
        "the kernel deletes it with this process"
    } else {
        "droptrace deletes it at the end; if it is killed, the next `droptrace rule` does"
    };
    let RuleArgs { limit, duration, .. } = args;
    say(
        "droptrace",
        format_args!(
            "tracing up to {limit} packets per second for {} s in network namespace {}, by the nftables table `inet {TABLE}` \
             ({end}); Ctrl-C ends",
            duration.as_secs_f64(),
            printable(netns)
        ),
    );
}

async fn watch(socket: &Socket, tally: &mut Tally<'_>, stop: &mut Stop) -> Result<()> {
    let mut receiver = Receiver::new(SLOTS, SLOT);
    loop {
        if receive(socket, &mut receiver, tally)? {
            // Messages may arrive without a pause, and the command must still end in time.
            tokio::select! {
                biased;
                () = stop.wait() => return Ok(()),
                () = tokio::task::yield_now() => {}
            }
        } else {
            tokio::select! {
                biased;
                () = stop.wait() => return Ok(()),
                readable = socket.readable() => readable?,
            }
        }
    }
}

/// Adds the waiting messages to the sums. Returns false if there was none.
fn receive(socket: &Socket, receiver: &mut Receiver, tally: &mut Tally<'_>) -> Result<bool> {
    match receiver.receive(socket)? {
        Received::Nothing => return Ok(false),
        // The socket counts them.
        Received::Overrun => tally.changes.lost_messages(),
        Received::Datagrams(_) => {
            for datagram in receiver.datagrams() {
                if datagram.is_truncated {
                    tally.changes.everywhere();
                }
                wire::messages(datagram.bytes).for_each(|message| {
                    if message.and_then(|message| add(&message, tally)).is_err() {
                        tally.add_malformed();
                    }
                });
            }
        }
    }
    Ok(true)
}

/// Adds a trace or a change; leaves out other messages.
fn add(message: &Message<'_>, tally: &mut Tally<'_>) -> Result<(), Malformed> {
    if let Some(trace) = Trace::parse(message)? {
        tally.add(&trace);
    } else if let Some(change) = Change::parse(message)? {
        tally.changes.add(&change);
    }
    Ok(())
}
