//! The table of the last drops of TCP, and the join of retransmissions with them.
//!
//! A retransmission follows a drop if both have the same addresses and ports in the same direction, a sequence number in
//! common that no other retransmission after that drop had, and the drop was before the socket began to send. The table
//! does not compare namespaces, because a packet passes several; connections with the same addresses and ports in two namespaces
//! are not joined.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::{Range, Tuple};
use crate::domain::event::{Location, Reason};

/// A drop site and a reason.
pub type Place = (Arc<Location>, Arc<Reason>);

/// A retransmission, as the join needs it. Times are nanoseconds of one clock.
#[derive(Clone, Copy, Debug)]
pub struct SentAgain {
    /// The connection, from the sender's side.
    pub tuple: Tuple,
    /// Its sequence numbers.
    pub range: Range,
    /// The sender's network namespace.
    pub netns: u64,
    /// When the socket began to send.
    pub began_ns: u64,
}

/// What is known of the drops at a place that have sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfPlace {
    /// Drops of which bytes were sent again.
    pub followed: u64,
    /// Drops of which no byte was sent again up to now.
    pub not_followed: u64,
}

/// A drop in the table.
#[derive(Clone, Debug)]
struct Dropped {
    number: u64,
    place: Place,
    at_ns: u64,
    /// The sequence numbers that no retransmission had since.
    left: Vec<Range>,
    is_followed: bool,
}

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
struct Flow {
    drops: VecDeque<Dropped>,
    /// The namespace of the socket that sent again.
    sender: Option<u64>,
    /// Sockets of two namespaces have this connection.
    is_ambiguous: bool,
}

/// The join.
#[derive(Debug, Default)]
pub struct Join {
    flows: HashMap<Tuple, Flow, RandomState>,
    /// The numbers of entries, the oldest first, and their flows.
    order: VecDeque<(u64, Tuple)>,
    next: u64,
    places: HashMap<Place, OfPlace, RandomState>,
    joined: u64,
    unmatched: u64,
}

impl Join {
    /// Drops in the table; the oldest make room for new ones.
    pub const MOST: usize = 65_536;
    /// Drops of one flow, likewise.
    pub const MOST_OF_FLOW: usize = 512;
    /// A retransmission does not follow an older drop: the longest timeout of TCP (`TCP_RTO_MAX`, `include/net/tcp.h`), after
    /// which the same numbers may belong to other bytes.
    pub const MOST_NS: u64 = 120_000_000_000;

    /// Takes a drop.
    pub fn dropped(&mut self, place: Place, (tuple, range): (Tuple, Range), at_ns: u64) {
        let number = self.enter(tuple);
        self.places.entry(place.clone()).or_default().not_followed += 1;
        let flow = self.flows.entry(tuple).or_default();
        if flow.drops.len() == Self::MOST_OF_FLOW
            && let Some(oldest) = flow.drops.pop_front()
        {
            forget(&mut self.places, &oldest);
        }
        flow.drops.push_back(Dropped { number, place, at_ns, left: vec![range], is_followed: false });
    }

    /// Takes a retransmission, and returns the last drop that it follows: its place, and the time from the drop to the
    /// moment at which the socket began to send.
    pub fn sent_again(&mut self, sent: &SentAgain) -> Option<(Place, Duration)> {
        if !self.flows.contains_key(&sent.tuple) {
            self.enter(sent.tuple);
        }
        let flow = self.flows.entry(sent.tuple).or_default();
        flow.is_ambiguous |= flow.sender.is_some_and(|known| known != sent.netns);
        flow.sender = Some(sent.netns);
        let cause = if flow.is_ambiguous { None } else { follow(flow, sent, &mut self.places) };
        match cause {
            Some(_) => self.joined += 1,
            None => self.unmatched += 1,
        }
        cause
    }

    /// Retransmissions that follow a drop, and all others.
    pub const fn counts(&self) -> (u64, u64) {
        (self.joined, self.unmatched)
    }

    /// What is known of the drops at each place.
    pub fn places(&self) -> impl Iterator<Item = (&Place, &OfPlace)> {
        self.places.iter()
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
        while let Some(oldest) = flow.drops.pop_front_if(|oldest| oldest.number <= number) {
            forget(&mut self.places, &oldest);
        }
        if flow.drops.is_empty() {
            self.flows.remove(tuple);
        }
    }
}

/// Counts the drops that a retransmission follows, and takes its sequence numbers from them. The last of the drops.
fn follow(
    flow: &mut Flow,
    sent: &SentAgain,
    places: &mut HashMap<Place, OfPlace, RandomState>,
) -> Option<(Place, Duration)> {
    let mut last = None;
    for dropped in &mut flow.drops {
        let Some(before) = sent.began_ns.checked_sub(dropped.at_ns).filter(|ns| (1..=Join::MOST_NS).contains(ns))
        else {
            continue;
        };
        if !take(&mut dropped.left, sent.range) {
            continue;
        }
        if !dropped.is_followed {
            dropped.is_followed = true;
            let of_place = places.entry(dropped.place.clone()).or_default();
            of_place.followed += 1;
            of_place.not_followed -= 1;
        }
        last = Some((dropped.place.clone(), Duration::from_nanos(before)));
    }
    flow.drops.retain(|dropped| !dropped.left.is_empty());
    last
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

/// What follows a drop that leaves the table is unknown from now on.
fn forget(places: &mut HashMap<Place, OfPlace, RandomState>, dropped: &Dropped) {
    if !dropped.is_followed
        && let Some(of_place) = places.get_mut(&dropped.place)
    {
        of_place.not_followed -= 1;
    }
}
