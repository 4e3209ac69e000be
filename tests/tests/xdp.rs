//! Faults of XDP: each frame is counted once, by `kfree_skb` where there is an `sk_buff`, else by the tracepoints of
//! XDP.

use std::os::fd::OwnedFd;
use std::process::{self, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::bpf::{self, Hook, Verdict, attached};
use tests::droptrace::{Droptrace, Stat, command};
use tests::frame::{ethernet, udp4};
use tests::netns::Netns;
use tests::packet::PacketSocket;
use tests::trials::{self, trial_as_root};
use tests::tun::{Kind, Tun};
use tests::wire::Wire;
use tests::{case, eventually};

const PORT: u16 = 9;
/// Frames that each case sends.
const FRAMES: u64 = 500;
/// No interface has this index.
const NOWHERE: u32 = 0x00ff_fff0;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("generic_abort_is_one_drop", || on_skbs(Hook::Generic, Verdict::Aborted)),
        trial_as_root("generic_invalid_action_is_one_drop", || on_skbs(Hook::Generic, Verdict::Invalid)),
        trial_as_root("generic_redirect_to_nowhere_is_one_drop", generic_redirect_to_nowhere),
        trial_as_root("generic_abort_on_the_way_out_is_one_drop", generic_abort_on_the_way_out),
        trial_as_root("veth_abort_of_skbs_is_one_drop", || on_skbs(Hook::Native, Verdict::Aborted)),
        trial_as_root("veth_invalid_action_on_skbs_is_one_drop", || on_skbs(Hook::Native, Verdict::Invalid)),
        trial_as_root("veth_abort_of_skbs_in_many_readings", in_many_readings),
        trial_as_root("veth_abort_of_skbs_without_room", without_room),
        trial_as_root("veth_abort_of_frames", || on_frames(Verdict::Aborted, "XDP_ABORTED")),
        trial_as_root("veth_invalid_action_on_frames", || on_frames(Verdict::Invalid, "invalid action 99")),
        trial_as_root("native_redirect_to_nowhere", native_redirect_to_nowhere),
        trial_as_root("native_redirect_to_closed_interface", native_redirect_to_closed_interface),
        trial_as_root("native_abort_on_the_way_out", native_abort_on_the_way_out),
        trial_as_root("tap_abort_of_frames_and_of_skbs", tap),
        trial_as_root("frames_are_shown_while_nothing_else_is_dropped", frames_are_shown),
        trial_as_root("veth_abort_of_skbs_is_filtered_once", filtered_once),
        trial_as_root("other_interfaces_are_filtered", other_interfaces_are_filtered),
        trial_as_root("single_frames_are_reported", single_frames_are_reported),
        trial_as_root("recording_replays_frames", recording_replays_frames),
    ])
}

/// A row of `droptrace stat`: the kind, the reason of XDP's rows, the interface, and how many.
type Row = (String, Option<String>, Option<String>, u64);

fn row(reason: Option<&str>, interface: &str, packets: u64) -> Row {
    let kind = if reason.is_some() { "xdp" } else { "packet" };
    (kind.to_owned(), reason.map(str::to_owned), Some(interface.to_owned()), packets)
}

/// All rows of a namespace.
fn rows(stat: &Stat, netns: &Netns) -> Result<Vec<Row>> {
    let drops = stat.0["drops"].as_array().context("no drops")?;
    let of_netns = drops.iter().filter(|drop| drop["netns"] == netns.inum());
    let parse = |drop: &Value| {
        let text = |field: &str| drop[field].as_str().map(str::to_owned);
        let kind = text("kind").context("no kind")?;
        let is_xdp = kind == "xdp";
        if is_xdp {
            ensure!(drop["subsystem"] == "xdp" && drop["bytes"].is_null() && drop["address"].is_null(), "{drop}");
        }
        Ok((
            kind,
            text("reason").filter(|_| is_xdp),
            text("interface"),
            drop["packets"].as_u64().context("no packets")?,
        ))
    };
    let mut rows = of_netns.map(parse).collect::<Result<Vec<Row>>>()?;
    rows.sort();
    Ok(rows)
}

/// Counts what `provocation` drops in the namespace, and compares.
fn expect(netns: &Netns, expected: &[Row], provocation: impl FnOnce() -> Result<()>) -> Result<()> {
    let inum = netns.inum().to_string();
    let stat = Stat::during(&["--source", "ebpf", "--netns", &inum], || {
        provocation()?;
        case::drained()
    })?;
    let found = rows(&stat, netns)?;
    ensure!(found == expected, "found {found:#?}, not {expected:#?}");
    Ok(())
}

fn verdict(netns: &Netns, interface: &str, verdict: Verdict, hook: Hook) -> Result<OwnedFd> {
    let ifindex = netns.ifindex(interface)?;
    attached(netns, || bpf::xdp(ifindex, verdict, hook))
}

/// A program that runs on `sk_buff`s, which are then freed.
fn on_skbs(hook: Hook, says: Verdict) -> Result<()> {
    let wire = Wire::new()?;
    let _program = verdict(&wire.host, "host0", says, hook)?;
    expect(&wire.host, &[row(None, "host0", FRAMES)], || send(&wire, FRAMES, "host0"))
}

fn generic_redirect_to_nowhere() -> Result<()> {
    let wire = Wire::new()?;
    let ifindex = wire.host.ifindex("host0")?;
    let _program = attached(&wire.host, || bpf::xdp_redirect(ifindex, NOWHERE, Hook::Generic))?;
    expect(&wire.host, &[row(None, "host0", FRAMES)], || send(&wire, FRAMES, "host0"))
}

/// The program on the way out runs on an `sk_buff`: the tracepoint gives the target, and the packet still has the
/// interface that it came in by.
fn generic_abort_on_the_way_out() -> Result<()> {
    let wire = Wire::with_way_out()?;
    let (ifindex, target) = (wire.host.ifindex("host0")?, wire.host.ifindex("out0")?);
    let _program =
        attached(&wire.host, || bpf::xdp_redirect_through(ifindex, target, Verdict::Aborted, Hook::Generic))?;
    expect(&wire.host, &[row(None, "host0", FRAMES)], || send(&wire, FRAMES, "host0"))
}

/// The generation of the counters changes all the time: no reading shows drops that a later one does not.
fn in_many_readings() -> Result<()> {
    const MANY: u64 = 50_000;
    let wire = Wire::new()?;
    let _program = verdict(&wire.host, "host0", Verdict::Aborted, Hook::Native)?;
    let inum = wire.host.inum().to_string();
    let arguments = ["stat", "--format", "json", "--source", "ebpf", "--netns", &inum, "--interval", "10ms"];
    let droptrace = Droptrace::start(&arguments)?;
    send(&wire, MANY, "host0")?;
    case::drained()?;
    let mut last = 0;
    for document in droptrace.finish()?.stdout.lines() {
        let found = rows(&Stat::parse(document)?, &wire.host)?;
        let packets = found.first().map_or(0, |(.., packets)| *packets);
        let expected: &[Row] = if packets == 0 { &[] } else { &[row(None, "host0", packets)] };
        ensure!(found == expected && packets >= last, "found {found:#?} after {last}");
        last = packets;
    }
    ensure!(last == MANY, "{last} of {MANY}");
    Ok(())
}

/// Keys of another interface fill all the room. The program is attached before droptrace, because a device that gets a
/// program tries out its queues with empty buffers, which are drops as well.
fn without_room() -> Result<()> {
    const OTHERS: [u16; 2] = [0x88b5, 0x88b6];
    let wire = Wire::with_way_out()?;
    let _program = verdict(&wire.host, "host0", Verdict::Aborted, Hook::Native)?;
    let way_out = PacketSocket::bind(&wire.host, "out0", OTHERS[0])?;
    let inum = wire.host.inum().to_string();
    let stat = Stat::during(&["--source", "ebpf", "--netns", &inum, "--map-entries", "1"], || {
        OTHERS.iter().try_for_each(|protocol| way_out.send(&ethernet(*protocol, &[0; 46])))?;
        send(&wire, FRAMES, "host0")?;
        case::drained()
    })?;
    // The filter cannot decide on drops of no namespace.
    let found = stat.ledger("accounted")? + stat.ledger("overflow")? - stat.ledger("unknown_netns")?;
    ensure!(found == FRAMES + OTHERS.len() as u64, "{found} drops: {}", stat.0);
    Ok(())
}

/// Frames that come by a redirect, so that the driver has no `sk_buff`.
fn on_frames(says: Verdict, reason: &str) -> Result<()> {
    let wire = Wire::with_way_out()?;
    let (ifindex, target) = (wire.host.ifindex("host0")?, wire.host.ifindex("out0")?);
    let _end = verdict(&wire.host, "end0", says, Hook::Native)?;
    let _program = attached(&wire.host, || bpf::xdp_redirect(ifindex, target, Hook::Native))?;
    expect(&wire.host, &[row(Some(reason), "end0", FRAMES)], || send(&wire, FRAMES, "end0"))
}

/// Sends frames in bursts, and after each waits until `interface` has received as many.
///
/// The queue between the two ends of a pair holds 256 frames (`VETH_RING_SIZE`, drivers/net/veth.c), and no count of
/// drops has the frames that exceed it.
fn send(wire: &Wire, frames: u64, interface: &str) -> Result<()> {
    const BURST: u64 = 125;
    let frame = udp4(PORT)?;
    ensure!(frames.is_multiple_of(BURST), "{frames} frames are not sent by {BURST}");
    let before = received(&wire.host, interface)?;
    (1..=frames / BURST).try_for_each(|burst| {
        wire.repeat(BURST, &frame)?;
        eventually("the frames to arrive", || Ok(received(&wire.host, interface)? >= before + burst * BURST))
    })
}

/// Frames that an interface has received, by the kernel's own count.
fn received(netns: &Netns, interface: &str) -> Result<u64> {
    let interfaces = netns.run(|| fs::read_to_string("/proc/thread-self/net/dev").context("reading net/dev"))?;
    let counters = interfaces.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let packets = counters.and_then(|counters| counters.split_whitespace().nth(1)).context("no such interface")?;
    Ok(packets.parse()?)
}

fn native_redirect_to_nowhere() -> Result<()> {
    let wire = Wire::new()?;
    let ifindex = wire.host.ifindex("host0")?;
    let _program = attached(&wire.host, || bpf::xdp_redirect(ifindex, NOWHERE, Hook::Native))?;
    let expected = row(Some("redirect failed: EINVAL (no such target)"), "host0", FRAMES);
    expect(&wire.host, &[expected], || send(&wire, FRAMES, "host0"))
}

fn native_redirect_to_closed_interface() -> Result<()> {
    let wire = Wire::with_way_out()?;
    let (ifindex, target) = (wire.host.ifindex("host0")?, wire.host.ifindex("out0")?);
    // With a program at its other end it could take frames, were it up.
    let _end = verdict(&wire.host, "end0", Verdict::Pass, Hook::Native)?;
    wire.host.command("ip link set out0 down")?;
    let _program = attached(&wire.host, || bpf::xdp_redirect(ifindex, target, Hook::Native))?;
    let expected = row(Some("redirect failed: ENETDOWN (target is down)"), "host0", FRAMES);
    expect(&wire.host, &[expected], || send(&wire, FRAMES, "host0"))
}

/// The program on the way out of a native redirect runs on frames.
fn native_abort_on_the_way_out() -> Result<()> {
    let wire = Wire::with_way_out()?;
    let (ifindex, target) = (wire.host.ifindex("host0")?, wire.host.ifindex("out0")?);
    let _end = verdict(&wire.host, "end0", Verdict::Pass, Hook::Native)?;
    let _program = attached(&wire.host, || bpf::xdp_redirect_through(ifindex, target, Verdict::Aborted, Hook::Native))?;
    expect(&wire.host, &[row(Some("XDP_ABORTED"), "out0", FRAMES)], || send(&wire, FRAMES, "host0"))
}

/// The driver has no `sk_buff` for small frames of a writer that does not block, and one for those of more than a page
/// (`tun_can_build_skb`, `drivers/net/tun.c`).
fn tap() -> Result<()> {
    let netns = Netns::new()?;
    let tap = Tun::create(&netns, "tap0", Kind::Tap)?;
    netns.commands("ip link set tap0 arp off up")?;
    tap.do_not_block()?;
    let _program = verdict(&netns, "tap0", Verdict::Aborted, Hook::Native)?;
    let (small, large) = ([0x55; 100], [0x55; 6000]);
    let expected = [row(None, "tap0", FRAMES), row(Some("XDP_ABORTED"), "tap0", FRAMES)];
    expect(&netns, &expected, || {
        for frame in [&small[..], &large[..]] {
            (0..FRAMES).try_for_each(|_| tap.write(frame))?;
        }
        Ok(())
    })
}

/// The last frame may be noted: no later drop on this CPU resolves the note, and a reading must not wait for one.
fn frames_are_shown() -> Result<()> {
    let netns = Netns::new()?;
    let tap = Tun::create(&netns, "tap0", Kind::Tap)?;
    netns.commands("ip link set tap0 arp off up")?;
    tap.do_not_block()?;
    let _program = verdict(&netns, "tap0", Verdict::Aborted, Hook::Native)?;
    let inum = netns.inum().to_string();
    let arguments = ["stat", "--format", "json", "--source", "ebpf", "--netns", &inum, "--interval", "100ms"];
    let droptrace = Droptrace::start(&arguments)?;
    let expected = [row(Some("XDP_ABORTED"), "tap0", FRAMES)];
    (0..FRAMES).try_for_each(|_| tap.write(&[0x55; 100]))?;
    droptrace.await_printed("the frames", |printed| {
        let Some((whole, _)) = printed.rsplit_once('\n') else { return Ok(false) };
        let last = whole.lines().next_back().unwrap_or_default();
        Ok(rows(&Stat::parse(last)?, &netns)? == expected)
    })?;
    for document in droptrace.finish()?.stdout.lines() {
        let found = rows(&Stat::parse(document)?, &netns)?;
        ensure!(found.iter().all(|(.., packets)| *packets <= FRAMES), "found {found:#?}");
    }
    Ok(())
}

/// The frame is noted. Neither of the two reports counts it except as filtered.
fn filtered_once() -> Result<()> {
    const MANY: u64 = 20_000;
    let wire = Wire::new()?;
    let _program = verdict(&wire.host, "host0", Verdict::Aborted, Hook::Native)?;
    let stat = Stat::during(&["--source", "ebpf", "--interface", "lo"], || {
        send(&wire, MANY, "host0")?;
        case::drained()
    })?;
    // Other tests may cause drops as well, but fewer.
    let filtered = stat.ledger("filtered")?;
    ensure!((MANY..MANY * 3 / 2).contains(&filtered), "{filtered} filtered of {MANY}");
    Ok(())
}

fn other_interfaces_are_filtered() -> Result<()> {
    let wire = Wire::new()?;
    let ifindex = wire.host.ifindex("host0")?;
    let _program = attached(&wire.host, || bpf::xdp_redirect(ifindex, NOWHERE, Hook::Native))?;
    let stat = Stat::during(&["--source", "ebpf", "--interface", "lo"], || {
        send(&wire, FRAMES, "host0")?;
        case::drained()
    })?;
    let (found, filtered) = (rows(&stat, &wire.host)?, stat.ledger("filtered")?);
    ensure!(found.is_empty(), "drops of another interface: {found:#?}");
    ensure!(filtered >= FRAMES, "{filtered} filtered");
    Ok(())
}

fn single_frames_are_reported() -> Result<()> {
    let wire = Wire::new()?;
    let (ifindex, inum) = (wire.host.ifindex("host0")?, wire.host.inum().to_string());
    let _program = attached(&wire.host, || bpf::xdp_redirect(ifindex, NOWHERE, Hook::Native))?;
    let arguments = ["trace", "--format", "json", "--all", "--source", "ebpf", "--netns", &inum];
    let droptrace = Droptrace::start(&arguments)?;
    send(&wire, FRAMES, "host0")?;
    case::drained()?;
    let finished = droptrace.finish()?;
    let lines = finished.stdout.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let drops: Vec<_> = lines.iter().filter(|line| line["schema"] == "droptrace.drop.v1").collect();
    let reported = drops.iter().filter(|line| line["kind"] == "xdp" && line["length"].is_null()).count();
    ensure!(
        reported as u64 == FRAMES && drops.len() == reported,
        "{reported} of {} drops: {:?}",
        drops.len(),
        drops.first()
    );
    Ok(())
}

fn recording_replays_frames() -> Result<()> {
    let wire = Wire::new()?;
    let (ifindex, inum) = (wire.host.ifindex("host0")?, wire.host.inum().to_string());
    let _program = attached(&wire.host, || bpf::xdp_redirect(ifindex, NOWHERE, Hook::Native))?;
    let droptrace = Droptrace::start(&["trace", "--raw", "--all", "--source", "ebpf", "--netns", &inum])?;
    send(&wire, FRAMES, "host0")?;
    case::drained()?;
    let path = env::temp_dir().join(format!("droptrace-xdp-{}", process::id()));
    fs::write(&path, droptrace.finish()?.stdout)?;
    let name = path.to_str().context("a path that is not UTF-8")?;
    let replayed = Droptrace::spawn(&mut command(&["replay", name, "--stat", "--format", "json"])?)?.wait();
    fs::remove_file(&path)?;
    let stat = Stat::parse(&replayed?.stdout)?;
    let (found, reason) = (rows(&stat, &wire.host)?, "redirect failed: EINVAL (no such target)");
    ensure!(found == [row(Some(reason), "host0", FRAMES)], "found {found:#?}");
    Ok(())
}
