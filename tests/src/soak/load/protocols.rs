//! Frames of so many protocols that the agent has no room for more rows.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Marks, received_and_dropped};
use crate::case::{PORTION, drained, room_for_a_portion};
use crate::soak::gate::Gate;
use crate::wire::Wire;

/// Protocols without a handler in the kernel. Each interface has a row for each of them; of three, the rows are more than the
/// 65,536 that the agent keeps.
const PROTOCOLS: RangeInclusive<u16> = 0xa000..=0xffff;
const WIRES: usize = 3;
/// Frames between two readings: half of the keys that have room in the kernel.
const BURST: usize = 4_096;
/// Frames between two readings after that.
const FEW: usize = 256;

/// Waits until `start`, sends a frame of each protocol to each of several interfaces, and then a few of them again and again.
/// Returns the number of frames.
pub fn flood(gate: &Gate, marks: &Marks, start: Instant, interval: Duration) -> Result<u64> {
    let mut frames = 0;
    if !gate.wait_until(start) {
        return Ok(frames);
    }
    let wires = (0..WIRES).map(|_| Wire::new()).collect::<Result<Vec<_>>>()?;
    let protocols: Vec<_> = PROTOCOLS.collect();
    let all = wires.iter().flat_map(|wire| protocols.chunks(BURST).map(move |chunk| (wire, chunk)));
    let few = wires.iter().zip(protocols.chunks(FEW)).cycle();
    for (wire, chunk) in all.chain(few) {
        if !gate.wait(interval) {
            break;
        }
        gate.burst(|| send(wire, marks, chunk))?;
        frames += chunk.len() as u64;
    }
    Ok(frames)
}

/// Sends frames of these protocols. Returns the kernel's count of those that it dropped.
fn send(wire: &Wire, marks: &Marks, protocols: &[u16]) -> Result<u64> {
    let before = received_and_dropped(&wire.host, "host0")?;
    for portion in protocols.chunks(usize::try_from(PORTION)?) {
        room_for_a_portion()?;
        portion.iter().try_for_each(|protocol| wire.send(&marks.frame(*protocol)))?;
    }
    drained()?;
    let (sent, dropped) = (protocols.len() as u64, received_and_dropped(&wire.host, "host0")? - before);
    ensure!(sent == dropped, "{sent} frames were sent, the kernel counts {dropped} dropped");
    Ok(dropped)
}
