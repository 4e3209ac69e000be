//! The kernel program's own log (`-vv`) has its rare events.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::droptrace::{Droptrace, Stat};
use tests::eventually;
use tests::frame::ethernet;
use tests::netns::Netns;
use tests::trials::trial_as_root;
use tests::tun::{Kind, Tun};

use super::rows::{PRUNED, can_be_pruned, prune_a_tree};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("changes_of_the_generation_and_full_maps_are_logged", generations_and_full_maps_are_logged),
        trial_as_root("implausible_devices_are_logged", implausible_devices_are_logged),
    ]
}

/// More keys than there is room for, while readings change the generation.
fn generations_and_full_maps_are_logged() -> Result<()> {
    const EVENTS: [&str; 3] = ["generation 0 from now on", "generation 1 from now on", "no room for a new key"];
    let host = Netns::new()?;
    let tap = Tun::create(&host, "log", Kind::Tap)?;
    host.command("ip link set log up")?;
    let mut droptrace = Droptrace::start(&["stat", "-vv", "--map-entries", "1"])?;
    eventually("a line for each event", || {
        (0x5000..0x5040).try_for_each(|kind| Ok::<_, anyhow::Error>(tap.write(&ethernet(kind, &[0; 46]))?))?;
        Ok(EVENTS.iter().all(|event| droptrace.has_said(event)))
    })?;
    droptrace.finish().map(drop)
}

fn implausible_devices_are_logged() -> Result<()> {
    can_be_pruned()?;
    let mut droptrace = Droptrace::start(&["stat", "-vv", "--format", "json", "--top", "0"])?;
    prune_a_tree()?;
    eventually("a line", || Ok(droptrace.has_said("skb->dev of a drop leads to no device")))?;
    let stat = Stat::parse(&droptrace.finish()?.stdout)?;
    ensure!(!stat.drops_of(PRUNED)?.is_empty(), "nothing was pruned");
    Ok(())
}
