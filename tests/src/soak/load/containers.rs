//! Containers that come and go: each is a network namespace with a name, a process in it, and a control group of its sockets.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::Marks;
use super::udp::Victim;
use crate::cgroup::ControlGroup;
use crate::netns::Netns;
use crate::soak::gate::Gate;

/// Datagrams of a burst.
const BURST: u64 = 300;
/// Time between the bursts of a container.
const PAUSE: Duration = Duration::from_millis(400);

/// One container after another. Returns their number.
pub fn churn(gate: &Gate, marks: &Marks) -> Result<u64> {
    let mut containers = 0;
    while gate.wait(PAUSE) {
        static MADE: AtomicU32 = AtomicU32::new(0);
        live(gate, marks, MADE.fetch_add(1, Ordering::Relaxed))?;
        containers += 1;
    }
    Ok(containers)
}

/// A container, which has one to four bursts.
fn live(gate: &Gate, marks: &Marks, number: u32) -> Result<()> {
    let pid = process::id();
    // The first twelve digits are the container's name.
    let group = ControlGroup::container(&format!("{number:06x}{pid:06x}")).ok();
    let host = Netns::named(&format!("droptrace-soak-{pid}-{number}"))?;
    let _resident = host.resident()?;
    let victim = match &group {
        Some(group) => group.run(|| Victim::new(host, marks)),
        None => Victim::new(host, marks),
    }?;
    for _ in 0..=number % 4 {
        gate.burst(|| victim.burst(BURST))?;
        if !gate.wait(PAUSE) {
            break;
        }
    }
    drop(victim);
    group.map_or(Ok(()), ControlGroup::remove)
}

/// Whether containers can have control groups here; the reason if not.
pub fn without_groups() -> Option<String> {
    ControlGroup::new().and_then(ControlGroup::remove).err().map(|error| format!("{error:#}"))
}
