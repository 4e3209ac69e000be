//! The connections that are open, of which there are at most so many. One that is not being answered, for it has sent no
//! request that is granted, gives way to a new one, the oldest first: whoever only holds connections keeps nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// All that may be open are being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A connection was closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GaveWay;

/// Those that are open.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
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
    is_answered: bool,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, shared: Arc::default() }
    }

    /// Has `start` spawn a connection, if there is room, or one that gives way.
    pub(super) fn open(&self, start: impl FnOnce(Place) -> AbortHandle) -> Result<Option<GaveWay>, Full> {
        let mut table = self.shared.table();
        let mut gave_way = None;
        if table.open.len() >= self.limit {
            let idle = table.open.iter().find(|(_, connection)| !connection.is_answered).map(|(number, _)| *number);
            let idle = idle.and_then(|number| table.open.remove(&number)).ok_or(Full)?;
            idle.task.abort();
            gave_way = Some(GaveWay);
        }
        table.opened += 1;
        let number = table.opened;
        let task = start(Place { number, shared: Arc::clone(&self.shared) });
        table.open.insert(number, Connection { task, is_answered: false });
        Ok(gave_way)
    }

    /// Waits until nothing is being answered.
    pub(super) async fn are_answered(&self) {
        loop {
            let closed = self.shared.closed.notified();
            if !self.shared.table().open.values().any(|connection| connection.is_answered) {
                return;
            }
            closed.await;
        }
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
            connection.is_answered = true;
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
        let connections = Connections::new(2);
        assert_eq!(connections.open(start(true)), Ok(None));
        assert_eq!(connections.open(start(false)), Ok(None));
        settle().await;
        assert_eq!(connections.open(start(false)), Ok(Some(GaveWay)));
        settle().await;
        let open: Vec<_> = connections.shared.table().open.keys().copied().collect();
        assert_eq!(open, [1, 3]);
    }

    #[tokio::test]
    async fn those_that_are_answered_stay() {
        let connections = Connections::new(2);
        for _ in 0..2 {
            connections.open(start(true)).unwrap();
        }
        settle().await;
        assert_eq!(connections.open(start(true)), Err(Full));
    }

    #[tokio::test]
    async fn the_end_waits_for_answers_only() {
        let connections = Connections::new(4);
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
