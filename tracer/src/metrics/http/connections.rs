//! Limits the open connections: in total, and to half of the total for one client. A client is an IPv4 address, or the
//! network of an IPv6 address. If the limit is reached, a new connection may close an open one. If the client of the
//! new connection has at least two connections fewer than the client with the most, a connection of the latter is
//! closed: the oldest that is not being answered, else the oldest whose answer has taken long, else the oldest.
//! Otherwise a connection is closed that is not being answered, and has thus sent no valid request, or else one whose
//! answer has taken long; only connections of the same client, and of clients with more connections, are closed, first
//! the oldest of the client with the most. Clients with fewer addresses than the limit can therefore never block
//! others.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The limit is reached, and no connection may be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The state of the connection that was closed for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GaveWay {
    /// The connection was not being answered.
    Idle,
    /// The client had not read its answer for long.
    Slow,
    /// The connection was being answered, and its client had more connections than the new one's.
    Answered,
}

/// The order in which connections are closed.
const WAYS: [GaveWay; 3] = [GaveWay::Idle, GaveWay::Slow, GaveWay::Answered];

/// The open connections.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    /// An answer that takes longer may be cut off.
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
    /// Connections by age.
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

    /// Has `start` spawn a connection from this address, if there is room, or a connection may be closed.
    pub(super) fn open(
        &self,
        from: IpAddr,
        start: impl FnOnce(ConnectionSlot) -> AbortHandle,
    ) -> Result<Option<GaveWay>, Full> {
        let source = source(from);
        let mut table = self.shared.table();
        let gave_way = if table.of(source) >= self.limit.div_ceil(2) {
            Some(table.close(&WAYS[..2], self.answer_time, |_, other| other == source).ok_or(Full)?)
        } else if table.open.len() >= self.limit {
            let (own, most) = (table.of(source), table.most());
            // A client with only one connection more keeps them, because otherwise both clients would take one from
            // each other again and again.
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
        let task = start(ConnectionSlot { number, shared: Arc::clone(&self.shared) });
        table.open.insert(number, Connection { source, task, answered_since: None });
        Ok(gave_way)
    }

    /// Waits until no connection is being answered.
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
    /// Number of open connections of a client.
    fn of(&self, source: IpAddr) -> usize {
        self.open.values().filter(|connection| connection.source == source).count()
    }

    /// Number of open connections of the client with the most.
    fn most(&self) -> usize {
        self.open.values().map(|connection| self.of(connection.source)).max().unwrap_or(0)
    }

    /// Closes the first connection in the given order, if there is one, among the selected clients.
    fn close(
        &mut self,
        ways: &[GaveWay],
        answer_time: Duration,
        is_meant: impl Fn(&Self, IpAddr) -> bool,
    ) -> Option<GaveWay> {
        let (number, way) = ways.iter().find_map(|way| {
            let gives_way = |connection: &Connection| connection.way(answer_time) == *way;
            let open = self.open.iter().filter(|(_, other)| is_meant(self, other.source) && gives_way(other));
            // `min_by_key` returns the first of equal keys, which is the oldest connection.
            let first = open.min_by_key(|(_, other)| Reverse(self.of(other.source)));
            first.map(|(number, _)| (*number, *way))
        })?;
        self.open.remove(&number)?.task.abort();
        Some(way)
    }
}

/// The identity of a client: an IPv4 address, or the IPv6 network from which one host may choose addresses.
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

/// An open connection's slot, which is free again when this value is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    number: u64,
    shared: Arc<Shared>,
}

impl ConnectionSlot {
    /// Marks the connection as being answered, so that it need not close for others.
    pub(super) fn is_answered(&self) {
        if let Some(connection) = self.shared.table().open.get_mut(&self.number) {
            connection.answered_since = Some(Instant::now());
        }
    }
}

impl Drop for ConnectionSlot {
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

    /// A connection that waits for ever, and may be answered.
    fn start(is_answered: bool) -> impl FnOnce(ConnectionSlot) -> AbortHandle {
        move |slot| {
            let waiting = async move {
                if is_answered {
                    slot.is_answered();
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
    async fn oldest_idle_connection_is_closed_first() {
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
    async fn answered_connections_stay_open() {
        let connections = Connections::new(2, LONG);
        for number in 1..=2 {
            connections.open(from(number), start(true)).unwrap();
        }
        settle().await;
        assert_eq!(connections.open(from(3), start(true)), Err(Full));
    }

    #[tokio::test]
    async fn slow_readers_are_closed_after_idle_connections() {
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
    async fn one_client_has_at_most_half_of_the_slots() {
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
    async fn client_with_most_connections_loses_one() {
        let connections = Connections::new(4, LONG);
        // The oldest connection is the only one of its client.
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
    async fn two_clients_do_not_block_a_third() {
        let connections = Connections::new(4, LONG);
        for number in [1, 1, 2, 2] {
            assert_eq!(connections.open(from(number), start(true)), Ok(None));
        }
        settle().await;
        assert_eq!(connections.open(from(3), start(true)), Ok(Some(GaveWay::Answered)));
        settle().await;
        assert_eq!([1, 2, 3].map(|number| open_of(&connections, number)), [1, 2, 1]);
        // Each client gets as many connections as the others, and no more.
        assert_eq!(connections.open(from(3), start(true)), Err(Full));
    }

    #[tokio::test]
    async fn client_with_most_connections_loses_one_before_idle_ones_of_others() {
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
    async fn idle_connection_stays_if_its_client_has_no_more_than_the_new_one() {
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
    async fn shutdown_waits_only_for_answers() {
        let connections = Connections::new(4, LONG);
        connections.open(from(1), start(false)).unwrap();
        connections.are_answered().await;
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let answer = |slot: ConnectionSlot| {
            let answering = async move {
                slot.is_answered();
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
