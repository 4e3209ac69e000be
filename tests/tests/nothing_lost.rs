//! When room is short, the total is still exact, and drops without room are reported.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::Stat;
use tests::frame::{NETWORK, ethernet, icmp6, ip4, patched, udp, udp6};
use tests::storm::{REASON, Storm, datagrams};
use tests::tcp::Peer;
use tests::trace::Trace;
use tests::trials::{self, trial_as_root};
use tests::wire::{HOST, SENDER, Wire};
use tests::witness::Witness;
use tests::{kernel, on_one_cpu};

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("more_keys_than_room", more_keys_than_room),
        trial_as_root("every_drop_through_a_ring_of_one_page", every_drop_through_a_ring_of_one_page),
        trial_as_root("records_within_bounds", records_within_bounds),
        trial_as_root("records_say_what_was_dropped", records_say_what_was_dropped),
        trial_as_root("transport_behind_a_cut_header_is_not_named", transport_behind_a_cut_header_is_not_named),
    ])
}

fn more_keys_than_room() -> Result<()> {
    const PROTOCOLS: u16 = 200;
    const EACH: u64 = 5;
    const UNHANDLED: &str = "UNHANDLED_PROTO";
    let all = u64::from(PROTOCOLS) * EACH;
    let wire = Wire::new()?;
    let witness = Witness::Link("host0", "rx", "dropped");
    let inum = wire.host.inum().to_string();
    let stat = Stat::during(&["--netns", &inum, "--map-entries", "16"], || {
        let protocols = 0x5000..0x5000 + PROTOCOLS;
        on_one_cpu(|| protocols.into_iter().try_for_each(|it| wire.repeat(EACH, &ethernet(it, &[0; 46]))))?;
        drained()
    })?;
    let kernel = witness.read(&wire.host)?;
    ensure!(kernel == all, "the kernel counts {kernel}, not {all}");
    let by_key: u64 = stat.drops_of(UNHANDLED)?.iter().map(|drop| drop.packets).sum();
    let by_reason = overflow_of(&stat, UNHANDLED)?;
    ensure!(by_key + by_reason == all, "{by_key} by key and {by_reason} by reason are not {all}");
    ensure!(by_reason > 0, "{PROTOCOLS} keys cannot fit");
    // Only this namespace is counted, and no other packet was dropped in it.
    let (accounted, overflow) = (stat.ledger("accounted")?, stat.ledger("overflow")?);
    ensure!(overflow == by_reason, "{overflow} overflow in the ledger, {by_reason} by reason");
    ensure!(accounted == by_key, "{accounted} accounted in the ledger, {by_key} by key");
    Ok(())
}

fn overflow_of(stat: &Stat, reason: &'static str) -> Result<u64> {
    let shown = kernel::reason(reason)?.shown();
    let overflow = stat.0["overflow"].as_array().context("no overflow")?;
    Ok(overflow.iter().filter(|row| row["reason"].as_str() == shown).filter_map(|row| row["packets"].as_u64()).sum())
}

fn every_drop_through_a_ring_of_one_page() -> Result<()> {
    let storm = Storm::new()?;
    let inum = storm.host.inum().to_string();
    let arguments = ["--all", "--ring-size", &tests::a_page(), "--netns", &inum];
    let trace = Trace::during(&arguments, || storm.send(datagrams(200_000)?))?;
    let (offered, delivered, ring_full) =
        (trace.event("offered")?, trace.event("delivered")?, trace.event("ring_full")?);
    ensure!(offered == delivered + ring_full, "offered != delivered + ring_full: {}", trace.events);
    ensure!(ring_full > 0 && delivered > 0, "no storm: {}", trace.events);
    let dropped = storm.dropped()?;
    let known = offered - trace.unknown_netns;
    ensure!(known == dropped, "{known} offered of this namespace, but the kernel dropped {dropped}");
    Ok(())
}

fn records_within_bounds() -> Result<()> {
    let storm = Storm::new()?;
    let inum = storm.host.inum().to_string();
    let trace = Trace::during(&["--netns", &inum], || storm.send(datagrams(200_000)?))?;
    let (offered, suppressed) = (trace.event("offered")?, trace.event("suppressed")?);
    let dropped = storm.dropped()?;
    let known = offered - trace.unknown_netns;
    ensure!(known == dropped, "{known} offered of this namespace, but the kernel dropped {dropped}");
    ensure!(suppressed > 0, "a storm without bound: {}", trace.events);
    let shown = kernel::reason(REASON)?.shown();
    let mut known = trace.drops.iter().filter(|drop| !drop["netns"].is_null());
    let other = known.find(|drop| drop["reason"].as_str() != shown);
    ensure!(other.is_none(), "not of the storm: {other:?}");
    Ok(())
}

fn records_say_what_was_dropped() -> Result<()> {
    let wire = Wire::with_ipv6()?;
    let inum = wire.host.inum().to_string();
    let datagram = udp(ip4(SENDER, HOST, 64), 9, &[0; 100])?;
    let syn = Peer::new(40001).syn(|_| ())?;
    let solicitation = icmp6(64, 135, 0, &[0; 16])?;
    let trace = Trace::during(&["--netns", &inum], || {
        wire.send(&datagram)?;
        wire.send(&syn)?;
        wire.send(&solicitation)?;
        drained()
    })?;
    let expected = [
        ("NO_SOCKET", "udp", "10.0.0.1:40000", "10.0.0.2:9", &datagram),
        ("NO_SOCKET", "tcp", "10.0.0.1:40001", "10.0.0.2:80", &syn),
        ("IPV6_NDISC_HOP_LIMIT", "icmpv6", "fd00::1", "fd00::2", &solicitation),
    ];
    for (reason, transport, source, destination, frame) in expected {
        let reason = kernel::reason(reason)?.shown();
        let fits = |drop: &&Value| {
            drop["reason"].as_str() == reason
                && drop["transport"] == transport
                && drop["source"] == source
                && drop["destination"] == destination
                && drop["length"] == frame.len()
                && drop["interface"] == "host0"
                && drop["netns"] == wire.host.inum()
        };
        let found = trace.drops.iter().filter(fits).count();
        ensure!(found == 1, "{found} records of the {transport} packet in {:#?}", trace.drops);
    }
    Ok(())
}

/// UDP over IPv6 behind some destination options headers of 8 bytes each.
fn udp6_behind_options(headers: u8) -> Result<Vec<u8>> {
    const OPTIONS: u8 = 60;
    const UDP: u8 = 17;
    let frame = udp6(9)?;
    let (head, payload) = frame.split_at(NETWORK + 40);
    let mut frame = head.to_vec();
    for header in 1..=headers {
        // Six bytes of padding: an option of type 1, and its length.
        frame.extend([if header == headers { UDP } else { OPTIONS }, 0, 1, 4, 0, 0, 0, 0]);
    }
    frame.extend(payload);
    let length = u16::try_from(frame.len() - NETWORK - 40)?.to_be_bytes();
    Ok(patched(frame, NETWORK + 4, &[length[0], length[1], OPTIONS]))
}

fn transport_behind_a_cut_header_is_not_named() -> Result<()> {
    let wire = Wire::with_ipv6()?;
    let inum = wire.host.inum().to_string();
    let frame = udp6_behind_options(6)?;
    let traced = |snaplen: &str| {
        Trace::during(&["--netns", &inum, "--all", "--snaplen", snaplen], || {
            wire.send(&frame)?;
            drained()
        })
    };
    let cases = [
        // Within the sixth header, within the ports, and behind all headers.
        ("100", "fd00::1", "fd00::2", Value::Null),
        ("104", "fd00::1", "fd00::2", "udp".into()),
        ("110", "[fd00::1]:40000", "[fd00::2]:9", "udp".into()),
    ];
    for (snaplen, source, destination, transport) in cases {
        let trace = traced(snaplen)?;
        let fits = |drop: &&Value| {
            drop["length"] == frame.len()
                && drop["source"] == source
                && drop["destination"] == destination
                && drop["transport"] == transport
        };
        let found = trace.drops.iter().filter(fits).count();
        ensure!(found == 1, "{found} fitting records with --snaplen {snaplen} in {:#?}", trace.drops);
    }
    Ok(())
}
