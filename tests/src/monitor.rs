//! The kernel's own drop monitor, which is one for the whole host.

use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::droptrace::binary;
use crate::trials::Unable;

/// One test at a time has the monitor.
static MONITOR: Mutex<()> = Mutex::new(());

/// Waits until no other test of this process uses the monitor.
///
/// # Errors
/// [`Unable`] where the kernel has none.
pub fn exclusively() -> Result<MutexGuard<'static, ()>> {
    let guard = MONITOR.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(binary()?);
    let command = command.args(["netlink", "family", "NET_DM"]).stdin(Stdio::null());
    let output = command.output().context("asking for the drop monitor")?;
    ensure!(output.status.success(), Unable("this kernel has no drop monitor (NET_DM)".to_owned()));
    Ok(guard)
}
