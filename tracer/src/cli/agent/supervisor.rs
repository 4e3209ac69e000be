//! What the service manager learns of the agent (`sd_notify(3)`): that it is ready, reloads, is alive, and ends. Without a
//! service manager that asks (`NOTIFY_SOCKET`), nothing happens.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager waits this many intervals for a sign of life, unless its own time is longer.
const PATIENCE: u32 = 3;
/// The longest time that a message waits for a service manager that does not read.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The service manager.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// The time without a sign of life after which it restarts the agent; absent if it does not.
    watchdog: Option<Duration>,
    has_failed: bool,
}

impl Supervisor {
    /// The one that started this process.
    pub(super) fn of_this_process() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled(), has_failed: false }
    }

    /// The metrics are served. `status` is a line for `systemctl status`.
    pub(super) fn ready(&mut self, status: &str, interval: Duration) {
        self.await_each(interval);
        self.notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The files are read again, until [`Supervisor::reloaded`].
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now]),
            Err(error) => self.note(Err(error)),
        }
    }

    /// The files were read, with success or not.
    pub(super) fn reloaded(&mut self, interval: Duration) {
        self.await_each(interval);
        self.notify(&[NotifyState::Ready]);
    }

    /// A sign of life.
    pub(super) fn alive(&mut self) {
        if self.watchdog.is_some() {
            // The next one comes soon: readings do not wait for this one.
            self.note(send(&[NotifyState::Watchdog], None));
        }
    }

    /// The agent ends.
    pub(super) fn stopping(&mut self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// Asks for more patience than was set, if signs of life come at `interval` only.
    fn await_each(&mut self, interval: Duration) {
        let Some(watchdog) = self.watchdog else { return };
        let time = watchdog.max(interval.saturating_mul(PATIENCE));
        self.notify(&[NotifyState::Custom(&format!("WATCHDOG_USEC={}", time.as_micros()))]);
    }

    fn notify(&mut self, state: &[NotifyState<'_>]) {
        self.note(send(state, Some(LONGEST_WAIT)));
    }

    /// The first failure is logged: the service manager will say what it missed.
    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.has_failed, true)
        {
            tracing::warn!("cannot notify the service manager (NOTIFY_SOCKET): {error}");
        }
    }
}

/// Sends the state. `sd_notify::notify` would wait as long as the service manager does not read; this waits no longer than
/// `wait`.
fn send(state: &[NotifyState<'_>], wait: Option<Duration>) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(wait.is_none())?;
    socket.set_write_timeout(wait)?;
    let text = state.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
    socket.send_to(text.as_bytes(), path).map(drop)
}
