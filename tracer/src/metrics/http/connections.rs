//! The connections that are open, of which there are at most so many. To make room, the oldest gives way that is not being
//! answered, for it has sent no request that is granted, else the oldest whose answer has been on its way for long: whoever
//! only holds connections keeps nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// All that may be open are being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A connection was closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GaveWay {
    /// It was not being answered.
    Idle,
    /// It had not taken its answer for long.
    Slow,
}

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
    task: AbortHandle,
    answered_since: Option<Instant>,
}

impl Connection {
    fn gives_way(&self, answer_time: Duration) -> Option<GaveWay> {
        match self.answered_since {
            None => Some(GaveWay::Idle),
            Some(since) if since.elapsed() >= answer_time => Some(GaveWay::Slow),
            Some(_) => None,
        }
    }
}

impl Connections {
    pub(super) fn new(limit: usize, answer_time: Duration) -> Self {
        Self { limit, answer_time, shared: Arc::default() }
    }

    /// Has `start` spawn a connection, if there is room, or one that gives way.
    pub(super) fn open(&self, start: impl FnOnce(Place) -> AbortHandle) -> Result<Option<GaveWay>, Full> {
        let mut table = self.shared.table();
        let is_full = table.open.len() >= self.limit;
        let gave_way = if is_full { Some(table.make_room(self.answer_time).ok_or(Full)?) } else { None };
        table.opened += 1;
        let number = table.opened;
        let task = start(Place { number, shared: Arc::clone(&self.shared) });
        table.open.insert(number, Connection { task, answered_since: None });
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
    /// Closes the connection that can be done without first, if there is one.
    fn make_room(&mut self, answer_time: Duration) -> Option<GaveWay> {
        let (number, way) = [GaveWay::Idle, GaveWay::Slow].into_iter().find_map(|way| {
            let gives_way = |connection: &Connection| connection.gives_way(answer_time) == Some(way);
            self.open.iter().find(|(_, connection)| gives_way(connection)).map(|(number, _)| (*number, way))
        })?;
        self.open.remove(&number)?.task.abort();
        Some(way)
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

    async fn settle() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn idle_ones_give_way_the_oldest_first() {
        let connections = Connections::new(2, LONG);
        assert_eq!(connections.open(start(true)), Ok(None));
        assert_eq!(connections.open(start(false)), Ok(None));
        settle().await;
        assert_eq!(connections.open(start(false)), Ok(Some(GaveWay::Idle)));
        settle().await;
        let open: Vec<_> = connections.shared.table().open.keys().copied().collect();
        assert_eq!(open, [1, 3]);
    }

    #[tokio::test]
    async fn those_that_are_answered_stay() {
        let connections = Connections::new(2, LONG);
        for _ in 0..2 {
            connections.open(start(true)).unwrap();
        }
        settle().await;
        assert_eq!(connections.open(start(true)), Err(Full));
    }

    #[tokio::test]
    async fn those_that_do_not_take_their_answer_go_after_the_idle_ones() {
        let connections = Connections::new(2, Duration::ZERO);
        connections.open(start(true)).unwrap();
        connections.open(start(false)).unwrap();
        settle().await;
        assert_eq!(connections.open(start(true)), Ok(Some(GaveWay::Idle)));
        settle().await;
        assert_eq!(connections.open(start(true)), Ok(Some(GaveWay::Slow)));
        settle().await;
        let open: Vec<_> = connections.shared.table().open.keys().copied().collect();
        assert_eq!(open, [3, 4]);
    }

    #[tokio::test]
    async fn the_end_waits_for_answers_only() {
        let connections = Connections::new(4, LONG);
        connections.open(start(false)).unwrap();
        connections.are_answered().await;
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let answer = |place: Place| {
            let answering = async move {
                place.is_answered();
                receiver.await.unwrap();
            };
            tokio::spawn(answering).abort_handle()
        };
        connections.open(answer).unwrap();
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
