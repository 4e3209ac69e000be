//! The kernel's own drop monitor, of which the host has one, and dropwatch, which uses it as droptrace does.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tracer::backend::net_dm::{Found, NetDmSource};

use crate::eventually;
use crate::trials::Unable;

/// One test at a time has the monitor.
static MONITOR: Mutex<()> = Mutex::new(());

/// Waits until no other test of this process uses the monitor.
///
/// # Errors
/// [`Unable`] where the kernel has none.
pub fn exclusively() -> Result<MutexGuard<'static, ()>> {
    let guard = MONITOR.lock().unwrap_or_else(PoisonError::into_inner);
    state().map_err(|error| Unable(format!("no drop monitor here: {error:#}")))?;
    Ok(guard)
}

/// The process that runs the monitor, and the monitor's mode.
pub fn state() -> Result<Found> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(NetDmSource::probe())?)
}

/// Waits until the monitor runs, or does not.
pub fn await_running(wanted: bool) -> Result<()> {
    eventually("the monitor to start or stop", || Ok((state()? != Found::Unused) == wanted))
}

/// Lets dropwatch stop the monitor, whichever process started it.
///
/// # Errors
///
/// [`Unable`] where dropwatch is not installed.
pub fn stop_by_others() -> Result<()> {
    let mut child = spawn_dropwatch()?;
    child.stdin.take().context("stdin is not piped")?.write_all(b"stop\nexit\n")?;
    eventually("dropwatch to end", || Ok(child.try_wait()?.is_some()))
}

fn spawn_dropwatch() -> Result<Child> {
    let mut command = Command::new("dropwatch");
    command.args(["-l", "kas"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn().map_err(|error| Unable(format!("no dropwatch: {error}")))?)
}

/// A running dropwatch (<https://github.com/nhorman/dropwatch>), killed with its handle.
pub struct Dropwatch {
    child: Child,
    stdin: ChildStdin,
}

impl Dropwatch {
    /// Starts dropwatch, and lets it start the monitor, in summary mode.
    ///
    /// # Errors
    ///
    /// [`Unable`] where dropwatch is not installed.
    pub fn start() -> Result<Self> {
        let mut child = spawn_dropwatch()?;
        let mut stdin = child.stdin.take().context("stdin is not piped")?;
        stdin.write_all(b"start\n")?;
        let dropwatch = Self { child, stdin };
        await_running(true)?;
        Ok(dropwatch)
    }

    /// Stops the monitor by Ctrl-C, and ends.
    pub fn finish(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no process id")?;
        kill_process(pid, Signal::INT).context("interrupting dropwatch")?;
        await_running(false)?;
        self.stdin.write_all(b"exit\n")?;
        let mut status = None;
        eventually("dropwatch to end", || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        let status = status.ok_or_else(|| anyhow!("no exit status"))?;
        ensure!(status.success(), "dropwatch ended with {status}");
        Ok(())
    }
}

impl Drop for Dropwatch {
    fn drop(&mut self) {
        // The call fails when dropwatch has ended already, which is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
