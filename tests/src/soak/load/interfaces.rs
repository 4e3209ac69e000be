//! Interfaces that come, change their names and go.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Marks, received_and_dropped};
use crate::case::drained;
use crate::eventually;
use crate::netns::Netns;
use crate::packet::{ALL_PROTOCOLS, PacketSocket};
use crate::soak::gate::Gate;

/// Frames that each interface receives.
const FRAMES: u64 = 20;
/// A protocol that nobody handles (IEEE 802 local experimental).
const PROTOCOL: u16 = 0x88b5;
/// Time between two pairs.
const PAUSE: Duration = Duration::from_millis(500);

/// One pair of interfaces after another. Returns their number.
pub fn churn(gate: &Gate, marks: &Marks) -> Result<u64> {
    let host = Netns::new()?;
    let mut pairs = 0;
    while gate.wait(PAUSE) {
        live(gate, marks, &host, pairs)?;
        pairs += 1;
    }
    Ok(pairs)
}

/// A pair of virtual interfaces with new names, through which frames are sent that the kernel drops.
fn live(gate: &Gate, marks: &Marks, host: &Netns, number: u64) -> Result<()> {
    let (left, right) = (format!("left{number}"), format!("right{number}"));
    host.probe("ip link add name one type veth peer name other")?;
    host.commands(&format!(
        "ip link set dev one name {left}
         ip link set dev other name {right}
         ip link set dev {left} arp off up
         ip link set dev {right} arp off up"
    ))?;
    // The kernel starts transmission some time after both ends are up, and drops what is sent before.
    eventually("the pair of interfaces", || {
        let link = host.command(&format!("ip link show dev {left}"))?;
        Ok(link.contains("state UP") && !link.contains("qdisc noop "))
    })?;
    let socket = PacketSocket::bind(host, &left, ALL_PROTOCOLS)?;
    gate.burst(|| {
        (0..FRAMES).try_for_each(|_| socket.send(&marks.frame(PROTOCOL)))?;
        drained()?;
        let dropped = received_and_dropped(host, &right)?;
        ensure!(dropped == FRAMES, "{FRAMES} frames were sent, {right} counts {dropped} dropped");
        Ok(dropped)
    })?;
    drop(socket);
    host.command(&format!("ip link delete dev {left}")).map(drop)
}
