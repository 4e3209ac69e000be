//! The connections that are open, of which there are at most so many, and half as many from one source. To make room for a
//! source that has fewer than another, by two or more, the one that has the most gives way: the oldest that is not being
//! answered, else the oldest whose answer has been on its way for long, else the oldest. Otherwise one gives way that is not
//! being answered, for it has sent no request that is granted, else one whose answer has been on its way for long: of those of
//! the same source, and of sources that have more, first of the one that has the most, the oldest. So whoever has fewer sources
//! than there may be connections keeps nobody out.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// There is no room, and none gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A connection was closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GaveWay {
    /// It was not being answered.
    Idle,
    /// It had not taken its answer for long.
    Slow,
    /// It was being answered, and its source had more than the one that came.
    Answered,
}

/// In the order in which they can be done without.
const WAYS: [GaveWay; 3] = [GaveWay::Idle, GaveWay::Slow, GaveWay::Answered];

/// Those that are open.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    /// An answer that has been on its way for longer may be cut.
    answer_time: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    opened: u64,
    /// By age.
    open: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    source: IpAddr,
    task: AbortHandle,
    answered_since: Option<Instant>,
}

impl Connection {
    fn way(&self, answer_time: Duration) -> GaveWay {
        match self.answered_since {
            None => GaveWay::Idle,
            Some(since) if since.elapsed() >= answer_time => GaveWay::Slow,
            Some(_) => GaveWay::Answered,
        }
    }
}

impl Connections {
    pub(super) fn new(limit: usize, answer_time: Duration) -> Self {
        Self { limit, answer_time, shared: Arc::default() }
    }

    /// Has `start` spawn a connection from this address, if there is room, or one that gives way.
    pub(super) fn open(&self, from: IpAddr, start: impl FnOnce(Place) -> AbortHandle) -> Result<Option<GaveWay>, Full> {
        let source = source(from);
        let mut table = self.shared.table();
        let gave_way = if table.of(source) >= self.limit.div_ceil(2) {
            Some(table.close(&WAYS[..2], self.answer_time, |_, other| other == source).ok_or(Full)?)
        } else if table.open.len() >= self.limit {
            let (own, most) = (table.of(source), table.most());
            // Not those of one that has one more: the two would take it from each other again and again.
            let gave_way = if own + 1 < most {
                table.close(&WAYS, self.answer_time, |table, other| table.of(other) == most)
            } else {
                table.close(&WAYS[..2], self.answer_time, |table, other| other == source || table.of(other) > own)
            };
            Some(gave_way.ok_or(Full)?)
        } else {
            None
        };
        table.opened += 1;
        let number = table.opened;
        let task = start(Place { number, shared: Arc::clone(&self.shared) });
        table.open.insert(number, Connection { source, task, answered_since: None });
        Ok(gave_way)
    }

    /// Waits until nothing is being answered.
    pub(super) async fn are_answered(&self) {
        loop {
            let closed = self.shared.closed.notified();
            if !self.shared.table().open.values().any(|connection| connection.answered_since.is_some()) {
                return;
            }
            closed.await;
        }
    }
}

impl Table {
    /// How many are open from a source.
    fn of(&self, source: IpAddr) -> usize {
        self.open.values().filter(|connection| connection.source == source).count()
    }

    /// How many the source has that has the most.
    fn most(&self) -> usize {
        self.open.values().map(|connection| self.of(connection.source)).max().unwrap_or(0)
    }

    /// Closes the connection that can be done without first, if there is one, of sources that may be meant.
    fn close(
        &mut self,
        ways: &[GaveWay],
        answer_time: Duration,
        is_meant: impl Fn(&Self, IpAddr) -> bool,
    ) -> Option<GaveWay> {
        let (number, way) = ways.iter().find_map(|way| {
            let gives_way = |connection: &Connection| connection.way(answer_time) == *way;
            let open = self.open.iter().filter(|(_, other)| is_meant(self, other.source) && gives_way(other));
            // Of several, the oldest: that is what `min_by_key` returns of equals.
            let first = open.min_by_key(|(_, other)| Reverse(self.of(other.source)));
            first.map(|(number, _)| (*number, *way))
        })?;
        self.open.remove(&number)?.task.abort();
        Some(way)
    }
}

/// What counts as one source: an address of IPv4, and of IPv6 the network that one host may choose addresses from.
fn source(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an open connection, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    shared: Arc<Shared>,
}

impl Place {
    /// It is being answered: it need not give way any more.
    pub(super) fn is_answered(&self) {
        if let Some(connection) = self.shared.table().open.get_mut(&self.number) {
            connection.answered_since = Some(Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.table().open.remove(&self.number);
        self.shared.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    /// A connection that waits for ever, being answered or not.
    fn start(is_answered: bool) -> impl FnOnce(Place) -> AbortHandle {
        move |place| {
            let waiting = async move {
                if is_answered {
                    place.is_answered();
                }
                pending::<()>().await;
            };
            tokio::spawn(waiting).abort_handle()
        }
    }

    fn from(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    async fn settle() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn idle_ones_give_way_the_oldest_first() {
        let connections = Connections::new(2, LONG);
        assert_eq!(connections.open(from(1), start(true)), Ok(None));
        assert_eq!(connections.open(from(2), start(false)), Ok(None));
        settle().await;
        assert_eq!(connections.open(from(3), start(false)), Ok(Some(GaveWay::Idle)));
        settle().await;
        let open: Vec<_> = connections.shared.table().open.keys().copied().collect();
        assert_eq!(open, [1, 3]);
    }

    #[tokio::test]
    async fn those_that_are_answered_stay() {
        let connections = Connections::new(2, LONG);
        for number in 1..=2 {
            connections.open(from(number), start(true)).unwrap();
        }
        settle().await;
        assert_eq!(connections.open(from(3), start(true)), Err(Full));
    }

    #[tokio::test]
    async fn those_that_do_not_take_their_answer_go_after_the_idle_ones() {
        let connections = Connections::new(2, Duration::ZERO);
        connections.open(from(1), start(true)).unwrap();
        connections.open(from(2), start(false)).unwrap();
        settle().await;
        assert_eq!(connections.open(from(3), start(true)), Ok(Some(GaveWay::Idle)));
        settle().await;
        assert_eq!(connections.open(from(4), start(true)), Ok(Some(GaveWay::Slow)));
        settle().await;
        let open: Vec<_> = connections.shared.table().open.keys().copied().collect();
        assert_eq!(open, [3, 4]);
    }

    fn open_of(connections: &Connections, number: u8) -> usize {
        connections.shared.table().of(from(number))
    }

    #[tokio::test]
    async fn one_source_has_half_of_the_places() {
        let connections = Connections::new(4, LONG);
        for _ in 0..2 {
            assert_eq!(connections.open(from(1), start(true)), Ok(None));
        }
        settle().await;
        assert_eq!(connections.open(from(1), start(true)), Err(Full));
        for gave_way in [None, None, Some(GaveWay::Idle), Some(GaveWay::Idle)] {
            assert_eq!(connections.open(from(2), start(false)), Ok(gave_way));
            settle().await;
        }
        assert_eq!((open_of(&connections, 1), open_of(&connections, 2)), (2, 2));
    }

    #[tokio::test]
    async fn who_has_the_most_gives_way() {
        let connections = Connections::new(4, LONG);
        // The oldest is the only one of its source.
        for number in [9, 1, 1, 2] {
            assert_eq!(connections.open(from(number), start(false)), Ok(None));
        }
        settle().await;
        for number in 3..=20 {
            assert_eq!(connections.open(from(1), start(false)), Ok(Some(GaveWay::Idle)), "{number}");
            settle().await;
        }
        assert_eq!(open_of(&connections, 9), 1);
        assert_eq!(connections.open(from(3), start(false)), Ok(Some(GaveWay::Idle)));
        settle().await;
        assert_eq!([9, 1, 2, 3].map(|number| open_of(&connections, number)), [1; 4]);
    }

    #[tokio::test]
    async fn two_sources_keep_no_third_one_out() {
        let connections = Connections::new(4, LONG);
        for number in [1, 1, 2, 2] {
            assert_eq!(connections.open(from(number), start(true)), Ok(None));
        }
        settle().await;
        assert_eq!(connections.open(from(3), start(true)), Ok(Some(GaveWay::Answered)));
        settle().await;
        assert_eq!([1, 2, 3].map(|number| open_of(&connections, number)), [1, 2, 1]);
        // Each gets as many as the others, and no more.
        assert_eq!(connections.open(from(3), start(true)), Err(Full));
    }

    #[tokio::test]
    async fn who_has_the_most_gives_way_before_one_that_waits() {
        let connections = Connections::new(4, Duration::ZERO);
        for (number, is_answered) in [(9, false), (1, true), (1, true), (2, false)] {
            connections.open(from(number), start(is_answered)).unwrap();
        }
        settle().await;
        assert_eq!(connections.open(from(3), start(false)), Ok(Some(GaveWay::Slow)));
        settle().await;
        assert_eq!([9, 1, 2, 3].map(|number| open_of(&connections, number)), [1; 4]);
    }

    #[tokio::test]
    async fn one_that_waits_does_not_give_way_to_a_source_with_as_many() {
        let connections = Connections::new(4, LONG);
        for (number, is_answered) in [(1, true), (2, true), (3, true), (9, false)] {
            connections.open(from(number), start(is_answered)).unwrap();
        }
        settle().await;
        assert_eq!(connections.open(from(1), start(true)), Err(Full));
        assert_eq!(connections.open(from(9), start(true)), Ok(Some(GaveWay::Idle)));
    }

    #[test]
    fn sources() {
        let of = |text: &str| source(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!((of("192.0.2.1"), of("::ffff:192.0.2.1")), ("192.0.2.1".to_owned(), "192.0.2.1".to_owned()));
    }

    #[tokio::test]
    async fn the_end_waits_for_answers_only() {
        let connections = Connections::new(4, LONG);
        connections.open(from(1), start(false)).unwrap();
        connections.are_answered().await;
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let answer = |place: Place| {
            let answering = async move {
                place.is_answered();
                receiver.await.unwrap();
            };
            tokio::spawn(answering).abort_handle()
        };
        connections.open(from(1), answer).unwrap();
        settle().await;
        let mut end = std::pin::pin!(connections.are_answered());
        tokio::select! {
            biased;
            () = &mut end => panic!("it did not wait"),
            () = settle() => {}
        }
        sender.send(()).unwrap();
        end.await;
    }
}
