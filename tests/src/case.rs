//! A provoked drop, and the counts that it must have.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use droptrace_base::explain::{Class, Counters};
use libtest_mimic::Trial;
use rustix::thread::{MembarrierCommand, membarrier};
use serde_json::Value;

use crate::cgroup::{self, ControlGroup};
use crate::droptrace::{Drops, Droptrace, Stat};
use crate::eventually;
use crate::kernel::{self, Known};
use crate::netns::Netns;
use crate::trials::trial_as_root;
use crate::witness::Witness;

/// Held by a case whose drops show no namespace.
static ALONE: Mutex<()> = Mutex::new(());

/// The cases only provoke drops; another test counts them.
static OTHERS_COUNT: AtomicBool = AtomicBool::new(false);

/// The facts that are known of a drop's interface.
#[derive(Clone, Copy, Debug)]
pub enum Interface {
    /// The interface's name and index.
    Named(&'static str),
    /// As [`Interface::Named`], of a packet of which the socket alone identifies the namespace: TCP has taken device
    /// and route away. Kernels before 6.11 do not report the socket; then the namespace is unknown, and only the index
    /// is known.
    OfSocket(&'static str),
    /// No interface: the packet never had a device.
    Unset,
    /// No interface, or its name and index, where newer kernels set the device before the drop.
    Perhaps(&'static str),
}

impl Interface {
    fn index(self, host: &Netns) -> Result<u64> {
        match self {
            Self::Named(name) | Self::OfSocket(name) | Self::Perhaps(name) => Ok(host.ifindex(name)?.into()),
            Self::Unset => Ok(0),
        }
    }

    fn fits(self, drop: &Drops, ifindex: u64) -> bool {
        let name = drop.interface.as_deref();
        let is_there = |shown: Option<&str>| drop.ifindex == ifindex && name == shown;
        let is_nowhere = drop.ifindex == 0 && name.is_none();
        match self {
            Self::Named(expected) => is_there(Some(expected)),
            Self::OfSocket(expected) => is_there((drop.netns != 0).then_some(expected)),
            Self::Unset => is_nowhere,
            Self::Perhaps(expected) => is_nowhere || is_there(Some(expected)),
        }
    }
}

/// Drops beside those of the case that its provocation causes by nature, in the same namespace.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// The kernel's drop reason, without prefix.
    pub reason: &'static str,
    /// Number of these drops.
    pub count: Count,
    /// Reason why they cannot be avoided.
    pub because: &'static str,
}

/// Whose the dropped packets are. Their sockets are made by the thread that provokes the drops, which has a control group
/// of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No socket leads to an owner.
    Nobody,
    /// The socket that was to receive them.
    Receiver,
    /// The UDP socket that has no room for them.
    FullReceiver,
    /// The socket that they belong to, which sent them.
    Sender,
    /// The socket that was to receive them; before 6.11 the one that sent them, to which they still belong.
    ReceiverElseSender,
}

impl Owner {
    /// What droptrace shows from Linux 6.11 on, where the kernel reports receivers, and before, in words.
    pub const fn shown(self) -> [&'static str; 2] {
        match self {
            Self::Nobody => ["no socket", "no socket"],
            Self::Receiver => ["receiver", "no socket"],
            Self::FullReceiver => ["receiver", "receiver"],
            Self::Sender => ["owner", "owner"],
            Self::ReceiverElseSender => ["receiver", "owner"],
        }
    }

    /// The role of the socket that this kernel shows.
    fn role(self) -> Result<Option<&'static str>> {
        Ok(match self {
            Self::Nobody => None,
            Self::Receiver => kernel::reports_socket()?.then_some("receiver"),
            Self::FullReceiver => kernel::reports_udp_receiver()?.then_some("receiver"),
            Self::Sender => Some("owner"),
            Self::ReceiverElseSender => Some(if kernel::reports_socket()? { "receiver" } else { "owner" }),
        })
    }
}

/// A number of drops.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// This number on each kernel.
    Exactly(u64),
    /// Any number, including zero.
    Any,
}

impl Count {
    fn fits(self, packets: u64) -> bool {
        match self {
            Self::Exactly(count) => packets == count,
            Self::Any => true,
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Name of the case.
    pub name: &'static str,
    /// The kernel's drop reason, without prefix.
    pub reason: &'static str,
    /// Names of the function that drops. Compilers inline differently, so any of these is right.
    pub symbols: &'static [&'static str],
    /// The interface.
    pub interface: Interface,
    /// The protocol; absent where the kernel has not set it yet.
    pub protocol: Option<&'static str>,
    /// The exact number of drops. The namespace has no others.
    pub count: u64,
    /// Further drops that the namespace may have.
    pub allowed: &'static [Allowance],
    /// Whose they are.
    pub owner: Owner,
    /// The kernel's own counter, which must rise by `count`; absent where the kernel has none.
    pub witness: Option<Witness>,
    /// Sets the stage and provokes the drops within [`Case::watch`].
    pub provoke: fn(&Case) -> Result<()>,
}

impl Case {
    /// Counts the drops of `host` by `stat` and `reconcile` while `provocation` runs, and compares; unless others count, for
    /// [`provoke`].
    pub fn watch(&self, host: &Netns, provocation: impl FnOnce() -> Result<()>) -> Result<()> {
        let before = self.witnessed(host)?;
        if OTHERS_COUNT.load(Ordering::Relaxed) {
            provocation()?;
            return self.settle(host, before);
        }
        let netns = self.netns(host)?;
        // Drops without a namespace could belong to another case, so only one such case runs at a time.
        let _alone = (netns == 0).then(|| ALONE.lock());
        let inum = netns.to_string();
        let filter = if netns == 0 { vec![] } else { vec!["--netns", &inum] };
        let _resident = host.resident()?;
        let reconcile = Droptrace::start(&[&["reconcile", "--format", "json"], &filter[..]].concat())?;
        let by = ["--by", "reason,site,interface,protocol,netns,cgroup,socket"];
        let mut settled = Ok(());
        let stat = Stat::during(&[&by, &filter[..]].concat(), || {
            provocation()?;
            settled = self.settle(host, before);
            Ok(())
        })?;
        let reconciled = reconcile.finish();
        // Where the kernel's counter does not rise far enough, the comparison shows more.
        self.compare(host, netns, &stat)?;
        self.no_others(host, netns, &stat)?;
        let outside = stat.outside(host.inum())?;
        ensure!(outside.is_empty(), "kfree_skb showed the drops, and they are shown as outside it: {outside:?}");
        settled?;
        if let (Some(before), Some(after)) = (before, self.witnessed(host)?) {
            let risen = after - before;
            ensure!(risen == self.count, "{:?} rose by {risen}, not {}", self.witness, self.count);
        }
        self.check_counters(host, netns, &reconciled?.stdout)
    }

    /// Checks what `droptrace reconcile` reports: no counter of the namespace contradicts the drops, and the witness, if it is
    /// an exact counter of droptrace's table, is explained in full.
    fn check_counters(&self, host: &Netns, netns: u64, report: &str) -> Result<()> {
        // Its status is another one if a counter contradicts the drops, of whichever namespace.
        let document: Value = serde_json::from_str(report)?;
        let rows = document["counters"].as_array().context("no counters")?;
        let is_own = |row: &&Value| row["netns"] == host.inum() && row["class"] == "exact";
        for row in rows.iter().filter(is_own) {
            ensure!(row["verdict"] == "agrees" && row["outside"] == 0 && row["least"] == row["most"], "{row}");
        }
        let Some(name) = self.witness.and_then(Witness::name).filter(|name| is_exact(name)) else { return Ok(()) };
        let row = rows.iter().filter(is_own).find(|row| row["counter"] == *name);
        let row = row.with_context(|| format!("no row of {name}: {document}"))?;
        ensure!(row["most"] == self.count, "{row}, not {}", self.count);
        if netns != 0 && kernel::reason(self.reason)? != Known::NoReasons {
            ensure!(row["explained"] == self.count, "{row}, not {}", self.count);
        }
        Ok(())
    }

    /// The number of the drops' namespace; 0 where it cannot be known.
    fn netns(&self, host: &Netns) -> Result<u64> {
        let is_known = !matches!(self.interface, Interface::OfSocket(_)) || kernel::reports_socket()?;
        Ok(if is_known { host.inum().into() } else { 0 })
    }

    fn witnessed(&self, host: &Netns) -> Result<Option<u64>> {
        self.witness.map(|witness| witness.read(host)).transpose()
    }

    /// Waits until the kernel has handled all sent packets.
    fn settle(&self, host: &Netns, before: Option<u64>) -> Result<()> {
        if let Some(before) = before {
            let what = format!("{:?} to rise by {}", self.witness, self.count);
            let risen = eventually(&what, || Ok(self.witnessed(host)? >= Some(before + self.count)));
            risen.with_context(|| self.shortfall(host, before))?;
        }
        drained()
    }

    /// Says how far the witness rose, and how many packets the processors' receive queues dropped since the kernel started.
    fn shortfall(&self, host: &Netns, before: u64) -> String {
        let risen = self.witnessed(host).map(|now| now.unwrap_or(before) - before);
        format!("it rose by {risen:?}; the receive queues dropped {:?} packets", softnet(DROPPED))
    }

    fn compare(&self, host: &Netns, netns: u64, stat: &Stat) -> Result<()> {
        let mut drops = stat.drops_of(self.reason)?;
        drops.retain(|drop| drop.netns == netns);
        if kernel::reason(self.reason)? == Known::NoReasons {
            // Only the drop site distinguishes them from the other drops there.
            drops.retain(|drop| self.is_at_site(drop));
        }
        let all_drops = || format!("all drops: {:#?}", stat.drops());
        let counted: u64 = drops.iter().map(|drop| drop.packets).sum();
        ensure!(counted == self.count, "{counted} drops of {}, not {}; {}", self.reason, self.count, all_drops());
        let ifindex = self.interface.index(host)?;
        let stray = drops.iter().find(|drop| !self.fits(ifindex, drop));
        ensure!(stray.is_none(), "not as the case expects: {stray:#?}");
        self.compare_owners(&drops)
    }

    fn compare_owners(&self, drops: &[Drops]) -> Result<()> {
        let role = self.owner.role()?;
        let group = if role.is_some() { cgroup::of_this_thread()? } else { None };
        let stray = drops.iter().find(|drop| drop.socket_role.as_deref() != role || drop.cgroup != group);
        ensure!(stray.is_none(), "not of {:?} in {group:?}: {stray:#?}", self.owner);
        Ok(())
    }

    /// Checks that the namespace of the case has no drops but those of the case and the allowed ones. `netns` is the
    /// number that the case's own drops show; where they show none, they are not among the namespace's.
    fn no_others(&self, host: &Netns, netns: u64, stat: &Stat) -> Result<()> {
        let inum = u64::from(host.inum());
        let known = kernel::reason(self.reason)?;
        if known == Known::NoReasons && !self.allowed.is_empty() {
            // This kernel does not distinguish an allowed drop from another.
            return Ok(());
        }
        let is_own = |drop: &Drops| netns == inum && drop.reason.as_deref() == known.shown() && self.is_at_site(drop);
        let mut others = BTreeMap::<Option<String>, u64>::new();
        // No drop of the namespace belongs to a group that has no socket there.
        let group = cgroup::of_this_thread()?;
        let strange = |drop: &Drops| drop.netns == inum && drop.cgroup.is_some() && drop.cgroup != group;
        let stranger = stat.drops()?.into_iter().find(strange);
        ensure!(stranger.is_none(), "not of {group:?}: {stranger:#?}");
        for drop in stat.drops()?.into_iter().filter(|drop| drop.netns == inum && !is_own(drop)) {
            *others.entry(drop.reason).or_default() += drop.packets;
        }
        for Allowance { reason, count, because } in self.allowed {
            let packets = others.remove(&Some((*reason).to_owned())).unwrap_or(0);
            ensure!(count.fits(packets), "{packets} drops of {reason}, not {count:?} ({because})");
        }
        ensure!(others.is_empty(), "unexpected drops: {others:?}; all drops: {:#?}", stat.drops());
        Ok(())
    }

    fn is_at_site(&self, drop: &Drops) -> bool {
        // Copies that the compiler made of a function have names with a dot: `name.constprop.0`.
        let function = drop.symbol.as_deref().and_then(|symbol| symbol.split('.').next());
        let is_everywhere = |function: &str| function == "kfree_skb" && kernel::has_split_kfree_skb();
        // Kernels for arm64 call it, and others contain it where they drop.
        let is_of_tcp = |function: &str| {
            let is_callers = self.symbols.iter().any(|caller| caller.starts_with("tcp_"));
            cfg!(target_arch = "aarch64") && function == "tcp_drop_reason" && is_callers
        };
        let is_known = |function| self.symbols.contains(&function) || is_everywhere(function) || is_of_tcp(function);
        function.is_some_and(is_known)
    }

    fn fits(&self, ifindex: u64, drop: &Drops) -> bool {
        self.is_at_site(drop) && self.interface.fits(drop, ifindex) && drop.protocol.as_deref() == self.protocol
    }
}

/// Whether each rise of a counter is one drop, according to droptrace's table.
fn is_exact(counter: &str) -> bool {
    let counters = Counters::built_in().ok();
    counters.is_some_and(|counters| counters.get(counter).is_some_and(|(_, counter)| counter.class == Class::Exact))
}

/// The table as tests.
pub fn trials(cases: impl IntoIterator<Item = Case>) -> Vec<Trial> {
    let run = |case: Case| {
        kernel::reason(case.reason)?;
        let group = ControlGroup::new()?;
        group.run(|| (case.provoke)(&case))
    };
    cases.into_iter().map(|case| trial_as_root(case.name, move || run(case))).collect()
}

/// Provokes the drops of a case, while another test counts them. Called by tests that count no case by itself.
pub fn provoke(case: &Case) -> Result<()> {
    OTHERS_COUNT.store(true, Ordering::Relaxed);
    kernel::reason(case.reason)?;
    (case.provoke)(case)
}

/// Packets that a sender sends between two calls of [`room_for_a_portion`].
pub const PORTION: u64 = 256;

/// Waits until the kernel has handled all packets that the interfaces received.
pub fn drained() -> Result<()> {
    eventually("the receive queues to drain", || Ok(queued_packets()? == 0))?;
    // A packet that was just taken out of a queue may still be under way on another processor. That is an RCU read
    // section, and this command is `synchronize_rcu` (kernel/sched/membarrier.c).
    membarrier(MembarrierCommand::Global).context("waiting for a grace period of RCU")
}

/// Waits until a receive queue has room for a portion of [`PORTION`] packets. A sender may go on before the kernel handles what was
/// sent, if the processors have other work; a queue that is full (`net.core.netdev_max_backlog`, 1,000) drops packets.
pub fn room_for_a_portion() -> Result<()> {
    eventually("room in the receive queues", || Ok(queued_packets()? <= PORTION))
}

/// Packets that wait in all processors' receive queues.
fn queued_packets() -> Result<u64> {
    softnet(WAITING)
}

/// Columns of `/proc/net/softnet_stat` (`softnet_seq_show`, net/core/net-procfs.c): packets that found their processor's
/// queue full, and the length of the queue.
const DROPPED: usize = 1;
const WAITING: usize = 11;

/// The sum of a column over all processors.
fn softnet(column: usize) -> Result<u64> {
    let lines = fs::read_to_string("/proc/net/softnet_stat").context("reading softnet_stat")?;
    let value = |line: &str| Some(u64::from_str_radix(line.split_whitespace().nth(column)?, 16).unwrap_or(0));
    Ok(lines.lines().filter_map(value).sum())
}
