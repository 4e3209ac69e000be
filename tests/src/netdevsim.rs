//! A simulated network device whose driver reports what its hardware drops.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::trials::Unable;
use crate::{eventually, pause};

/// The one device of this process.
const DEVICE: &str = "netdevsim/netdevsim1";
const BUS: &str = "/sys/bus/netdevsim";
/// Longer than the driver's pause between packets (`NSIM_TRAP_REPORT_INTERVAL_MS`).
const REST: Duration = Duration::from_millis(300);

/// One test at a time has the device.
static ALONE: Mutex<()> = Mutex::new(());

/// devlink's counts of a trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The trap's group.
    pub group: String,
    /// Whether packets of the trap are dropped, and not passed on to the kernel.
    pub drops: bool,
    /// Packets trapped.
    pub packets: u64,
    /// Bytes of the trapped packets.
    pub bytes: u64,
}

/// A device with one port, which is down. Each trap that is open has a packet each 100 ms while the port is up.
pub struct Device {
    _alone: MutexGuard<'static, ()>,
}

impl Device {
    /// A new device, all of whose traps are open.
    ///
    /// # Errors
    /// [`Unable`] where there is no driver or no program `devlink`.
    pub fn new() -> Result<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let version = Command::new("devlink").arg("-Version").output();
        ensure!(version.is_ok(), Unable("the program devlink is missing".to_owned()));
        let loaded = Command::new("modprobe").args(["-q", "netdevsim"]).status();
        ensure!(loaded.is_ok_and(|status| status.success()), Unable("this kernel has no module netdevsim".to_owned()));
        fs::write(format!("{BUS}/new_device"), "1 1").context("making a simulated device")?;
        let device = Self { _alone: alone };
        let traps = device.traps()?;
        let groups: BTreeSet<_> = traps.values().filter(|trap| trap.drops).map(|trap| &trap.group).collect();
        for group in groups {
            // Exceptions are always open, which devlink warns of.
            run("devlink", &["trap", "group", "set", DEVICE, "group", group, "action", "trap"])?;
        }
        Ok(device)
    }

    /// The name of its interface.
    pub fn interface(&self) -> Result<String> {
        let mut interfaces = fs::read_dir(format!("{BUS}/devices/netdevsim1/net")).context("looking for its port")?;
        let name = interfaces.next().context("it has no port")??.file_name();
        name.into_string().ok().context("a name that is no text")
    }

    /// Has each open trap take some packets, and waits until no more come.
    pub fn run(&self, packets: u64) -> Result<()> {
        let interface = self.interface()?;
        run("ip", &["link", "set", &interface, "up"])?;
        eventually("packets in all traps", || {
            pause(REST);
            Ok(self.traps()?.values().all(|trap| trap.packets >= packets))
        })?;
        run("ip", &["link", "set", &interface, "down"])?;
        let mut before = self.traps()?;
        eventually("the device to rest", || {
            pause(REST);
            let after = self.traps()?;
            let rests = after == before;
            before = after;
            Ok(rests)
        })
    }

    /// devlink's counts, by the traps' names.
    pub fn traps(&self) -> Result<BTreeMap<String, Trap>> {
        let text = run("devlink", &["-s", "-j", "trap", "show"])?;
        let document: Value = serde_json::from_str(&text).with_context(|| format!("reading {text}"))?;
        let traps = document["trap"][DEVICE].as_array().context("devlink does not show the device's traps")?;
        traps.iter().map(parse).collect()
    }
}

fn parse(trap: &Value) -> Result<(String, Trap)> {
    let text = |field: &str| trap[field].as_str().with_context(|| format!("no {field} in {trap}"));
    let number = |field: &str| trap["stats"]["rx"][field].as_u64().with_context(|| format!("no {field} in {trap}"));
    let group = text("group")?.to_owned();
    let drops = text("type")? != "control";
    Ok((text("name")?.to_owned(), Trap { group, drops, packets: number("packets")?, bytes: number("bytes")? }))
}

impl Drop for Device {
    fn drop(&mut self) {
        // A device that stays is found by the next test, which cannot make its own.
        let _ = fs::write(format!("{BUS}/del_device"), "1");
    }
}

/// Runs a program. Returns its output.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("starting {program}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}: {stderr}", arguments.join(" "), output.status);
    String::from_utf8(output.stdout).context("it printed no text")
}
