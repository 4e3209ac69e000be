//! The table of the last drops of TCP, and the join of retransmissions with them.
//!
//! A retransmission follows a drop if both have the same addresses and ports in the same direction, a sequence number in
//! common that no other retransmission after that drop had, and the drop was before the socket began to send. The table
//! does not compare namespaces, because a packet passes several. Where the table cannot know, the retransmission is undecided.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::{Range, Tuple};
use crate::domain::event::{Location, Reason};
use crate::domain::retransmit::{Cause, Doubt, Loss};

/// A drop site and a drop reason.
pub(crate) type SiteReason = (Arc<Location>, Arc<Reason>);

/// A retransmission, as the join needs it. Times are nanoseconds of one clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentAgain {
    /// The connection, from the sender's side.
    pub(crate) tuple: Tuple,
    /// Its sequence numbers.
    pub(crate) range: Range,
    /// The sender's network namespace.
    pub(crate) netns: u64,
    /// When the socket began to send.
    pub(crate) began_ns: u64,
}

/// What is known of the drops at a drop site with one reason that have sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SiteCounts {
    /// Drops of which bytes were sent again.
    pub(crate) followed: u64,
    /// Drops of which no byte was sent again up to now, although their sender is a socket of this host that did send others
    /// again.
    pub(crate) not_followed: u64,
}

/// The numbers of retransmissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Those that follow a drop.
    pub(crate) joined: u64,
    /// Those without a drop.
    pub(crate) unmatched: u64,
    /// Those of which the table cannot know.
    pub(crate) undecided: u64,
}

/// A drop in the table.
#[derive(Clone, Debug)]
struct Dropped {
    number: u64,
    site: SiteReason,
    at_ns: u64,
    /// The sequence numbers that no retransmission had since.
    left: Vec<Range>,
    is_followed: bool,
    /// The bytes were sent again at about the time of the drop: before or after.
    is_doubtful: bool,
}

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
struct Flow {
    drops: VecDeque<Dropped>,
    /// The namespace of the socket that sent again.
    sender: Option<u64>,
    /// Sockets of two namespaces have this connection.
    is_ambiguous: bool,
    /// Time of the last drop that left the table and was not sent again as a whole.
    forgotten_ns: Option<u64>,
}

/// The join.
#[derive(Debug, Default)]
pub(crate) struct Join {
    flows: HashMap<Tuple, Flow, RandomState>,
    /// The numbers of entries, the oldest first, and their flows.
    order: VecDeque<(u64, Tuple)>,
    next: u64,
    /// Drops at each drop site of which bytes were sent again.
    followed: HashMap<SiteReason, u64, RandomState>,
    /// As [`Flow::forgotten_ns`], of flows that left the table.
    forgotten_ns: Option<u64>,
    counts: Counts,
}

impl Join {
    /// Drops in the table; the oldest make room for new ones.
    pub(crate) const MOST: usize = 65_536;
    /// Drops of one flow, likewise.
    pub(crate) const MOST_OF_FLOW: usize = 512;
    /// A retransmission does not follow an older drop: the longest timeout of TCP (`TCP_RTO_MAX`, `include/net/tcp.h`), after
    /// which the same numbers may belong to other bytes.
    pub(crate) const MOST_NS: u64 = 120_000_000_000;

    /// Takes a drop.
    pub(crate) fn dropped(&mut self, site: SiteReason, (tuple, range): (Tuple, Range), at_ns: u64) {
        let number = self.enter(tuple);
        let flow = self.flows.entry(tuple).or_default();
        if flow.drops.len() == Self::MOST_OF_FLOW {
            flow.forget_oldest();
        }
        flow.drops.push_back(Dropped {
            number,
            site,
            at_ns,
            left: vec![range],
            is_followed: false,
            is_doubtful: false,
        });
    }

    /// Takes a retransmission. The time of its cause is that from the drop to the moment at which the socket began to send.
    pub(crate) fn sent_again(&mut self, sent: &SentAgain) -> Loss {
        if !self.flows.contains_key(&sent.tuple) {
            self.enter(sent.tuple);
        }
        let flow = self.flows.entry(sent.tuple).or_default();
        flow.is_ambiguous |= flow.sender.is_some_and(|known| known != sent.netns);
        flow.sender = Some(sent.netns);
        let loss = flow.loss(sent, self.forgotten_ns, &mut self.followed);
        *match loss {
            Loss::After(_) => &mut self.counts.joined,
            Loss::Unmatched => &mut self.counts.unmatched,
            Loss::Undecided(_) => &mut self.counts.undecided,
        } += 1;
        loss
    }

    /// The retransmissions up to now.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// What is known of the drops at each drop site. Looks at all drops in the table.
    pub(crate) fn sites(&self) -> HashMap<SiteReason, SiteCounts, RandomState> {
        let of_followed =
            |(site, followed): (&SiteReason, &u64)| (site.clone(), SiteCounts { followed: *followed, not_followed: 0 });
        let mut sites: HashMap<_, _, RandomState> = self.followed.iter().map(of_followed).collect();
        // The sender of other flows may be on another host, or have other addresses.
        let of_senders = self.flows.values().filter(|flow| flow.sender.is_some() && !flow.is_ambiguous);
        for dropped in
            of_senders.flat_map(|flow| &flow.drops).filter(|dropped| !dropped.is_followed && !dropped.is_doubtful)
        {
            sites.entry(dropped.site.clone()).or_default().not_followed += 1;
        }
        sites
    }

    /// Makes room for an entry of a flow, and returns its number.
    fn enter(&mut self, tuple: Tuple) -> u64 {
        if self.order.len() == Self::MOST
            && let Some((number, oldest)) = self.order.pop_front()
        {
            self.leave(number, &oldest);
        }
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, tuple));
        number
    }

    /// Removes a flow's entries up to `number`.
    fn leave(&mut self, number: u64, tuple: &Tuple) {
        let Some(flow) = self.flows.get_mut(tuple) else { return };
        while flow.drops.front().is_some_and(|oldest| oldest.number <= number) {
            flow.forget_oldest();
        }
        if flow.drops.is_empty() {
            self.forgotten_ns = self.forgotten_ns.max(flow.forgotten_ns);
            self.flows.remove(tuple);
        }
    }
}

impl Flow {
    /// What follows a drop that leaves the table is unknown from now on.
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.drops.pop_front() {
            self.forgotten_ns = self.forgotten_ns.max(Some(oldest.at_ns));
        }
    }

    /// `forgotten_ns` is that of the flows that left the table.
    fn loss(
        &mut self,
        sent: &SentAgain,
        forgotten_ns: Option<u64>,
        followed: &mut HashMap<SiteReason, u64, RandomState>,
    ) -> Loss {
        if self.is_ambiguous {
            return Loss::Undecided(Doubt::TwoNamespaces);
        }
        if let Some(cause) = self.follow(sent, followed) {
            return Loss::After(cause);
        }
        let is_recent = |at_ns: u64| sent.began_ns.saturating_sub(at_ns) <= Join::MOST_NS;
        let is_meanwhile = |dropped: &&mut Dropped| dropped.at_ns >= sent.began_ns && dropped.has(sent.range);
        let mut meanwhile = 0;
        for dropped in self.drops.iter_mut().filter(is_meanwhile) {
            dropped.is_doubtful = true;
            meanwhile += 1;
        }
        if meanwhile > 0 {
            Loss::Undecided(Doubt::DroppedWhileSending)
        } else if self.forgotten_ns.max(forgotten_ns).is_some_and(is_recent) {
            Loss::Undecided(Doubt::Forgotten)
        } else {
            Loss::Unmatched
        }
    }

    /// Counts the drops that a retransmission follows, and takes its sequence numbers from them. The last of the drops.
    fn follow(&mut self, sent: &SentAgain, followed: &mut HashMap<SiteReason, u64, RandomState>) -> Option<Cause> {
        let mut last = None;
        for dropped in &mut self.drops {
            let Some(before) = sent.began_ns.checked_sub(dropped.at_ns).filter(|ns| (1..=Join::MOST_NS).contains(ns))
            else {
                continue;
            };
            if !take(&mut dropped.left, sent.range) {
                continue;
            }
            if !dropped.is_followed {
                dropped.is_followed = true;
                *followed.entry(dropped.site.clone()).or_default() += 1;
            }
            let (location, reason) = dropped.site.clone();
            last = Some(Cause { reason, location, before: Duration::from_nanos(before) });
        }
        self.drops.retain(|dropped| !dropped.left.is_empty());
        last
    }
}

impl Dropped {
    /// Whether some of these sequence numbers were not sent again since the drop.
    fn has(&self, range: Range) -> bool {
        self.left.iter().any(|part| part.without(range).is_some())
    }
}

/// Takes sequence numbers away; whether there were any.
fn take(left: &mut Vec<Range>, range: Range) -> bool {
    let mut is_taken = false;
    let parts = left.iter().flat_map(|part| match part.without(range) {
        None => [Some(*part), None],
        Some(rest) => {
            is_taken = true;
            rest
        }
    });
    *left = parts.flatten().collect();
    is_taken
}
