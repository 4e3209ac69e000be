//! Whose each packet was: the process and the control group in the lines of `trace`.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tests::case::drained;
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, command};
use tests::folder::Folder;
use tests::kernel;
use tests::machine::is_emulated;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, Holder, host, overrun, udp_of};
use tests::trace::Trace;
use tests::trials::trial_as_root;
use tests::wire::udp;

use super::owners::{behind_a_firewall, in_each_mode, refused};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_record_names_its_receiver", a_record_names_its_receiver),
        trial_as_root("a_record_names_its_sender", a_record_names_its_sender),
        trial_as_root("a_record_without_a_socket_names_nobody", a_record_without_a_socket_names_nobody),
        trial_as_root("a_record_names_the_process_that_has_the_socket", a_record_names_the_process_that_has_the_socket),
        trial_as_root("a_process_that_ended_is_unknown", a_process_that_ended_is_unknown),
        trial_as_root("a_recording_has_the_owners", a_recording_has_the_owners),
    ]
}

/// Runs `trace` about a namespace.
fn traced(host: &Netns, mode: &str, provocation: impl FnOnce() -> Result<()>) -> Result<Trace> {
    Trace::during(&["--all", "--mode", mode, "--netns", &host.inum().to_string()], provocation)
}

/// What a line says of the packet's owner: role, process, and the last part of the control group's path.
pub(super) fn whose(drop: &Value) -> Value {
    let group = drop["cgroup"].as_str().and_then(|path| path.rsplit('/').next());
    json!([drop["socket_role"], drop["process"], group])
}

/// All lines have this owner. Its process may be unknown, because droptrace bounds the time of its searches, but is never
/// another one; on a machine that is not emulated, it is known in some lines.
fn all_are(drops: &[Value], count: u64, expected: &Value) -> Result<()> {
    let mut unknown = expected.clone();
    unknown[1] = Value::Null;
    let other = drops.iter().map(whose).find(|owner| *owner != *expected && *owner != unknown);
    ensure!(other.is_none(), "{other:?} instead of {expected}");
    ensure!(drops.len() as u64 == count && count > 0, "{} of {count} drops", drops.len());
    let is_known = drops.iter().any(|drop| whose(drop) == *expected);
    ensure!(is_known || is_emulated(), "no line has {expected}");
    Ok(())
}

/// The process of this test.
pub(super) fn own_process() -> Result<Value> {
    Ok(json!({"pid": process::id(), "comm": fs::read_to_string("/proc/self/comm")?.trim()}))
}

pub(super) fn name(group: &ControlGroup) -> Result<&str> {
    group.path().file_name().and_then(|name| name.to_str()).context("a control group without a name")
}

/// As for totals, the kernel reports the receiver from 6.11 on.
fn a_record_names_its_receiver() -> Result<()> {
    let group = ControlGroup::new()?;
    in_each_mode(|mode| {
        let host = host()?;
        let receiver = udp_of(&group, &host)?;
        let mut counted = 0;
        let trace = traced(&host, mode, || {
            counted = overrun(&host, &receiver)?;
            Ok(())
        })?;
        let known = json!(["receiver", own_process()?, name(&group)?]);
        all_are(&trace.drops, counted, &if kernel::reports_socket()? { known } else { json!([null, null, null]) })
    })
}

fn a_record_names_its_sender() -> Result<()> {
    let group = ControlGroup::new()?;
    in_each_mode(|mode| {
        let host = behind_a_firewall()?;
        let sender = udp_of(&group, &host)?;
        let trace = traced(&host, mode, || refused(&sender))?;
        all_are(&trace.drops, DATAGRAMS, &json!(["owner", own_process()?, name(&group)?]))
    })
}

fn a_record_without_a_socket_names_nobody() -> Result<()> {
    in_each_mode(|mode| {
        let host = host()?;
        let trace = traced(&host, mode, || {
            let sender = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
            // The kernel reports the refusal by the next call.
            _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
            drained()
        })?;
        let drops = trace.drops_of("NO_SOCKET")?;
        let all = drops.iter().all(|drop| whose(drop) == json!([null, null, null]) && drop["socket"].is_null());
        ensure!(!drops.is_empty() && all, "{:#?}", trace.drops);
        Ok(())
    })
}

/// Sends packets that a firewall drops, passes the socket on to another process, and has `while_unread` done with it before
/// droptrace reads the records.
fn passed_on<T>(mode: &str, while_unread: impl FnOnce(Holder) -> T) -> Result<(Trace, T)> {
    let host = behind_a_firewall()?;
    let sender = host.run(|| Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let mut done = None;
    let trace = Trace::while_it_sleeps(&["--all", "--mode", mode, "--netns", &host.inum().to_string()], || {
        refused(&sender)?;
        done = Some(while_unread(Holder::of(sender)?));
        Ok(())
    })?;
    Ok((trace, done.context("no process")?))
}

/// Not that which made the socket, and sent the packets.
fn a_record_names_the_process_that_has_the_socket() -> Result<()> {
    in_each_mode(|mode| {
        let (trace, holder) = passed_on(mode, |holder| holder)?;
        let group = trace.drops.first().map_or(Value::Null, |drop| whose(drop)[2].clone());
        all_are(&trace.drops, DATAGRAMS, &json!(["owner", {"pid": holder.pid(), "comm": "sleep"}, group]))
    })
}

fn a_process_that_ended_is_unknown() -> Result<()> {
    in_each_mode(|mode| {
        let (trace, ()) = passed_on(mode, drop)?;
        let known = trace.drops.iter().find(|drop| !drop["process"].is_null() || drop["socket"]["inode"].is_null());
        ensure!(trace.drops.len() as u64 == DATAGRAMS && known.is_none(), "{known:?}");
        Ok(())
    })
}

/// A recording shows the same owners later, when the processes are gone.
fn a_recording_has_the_owners() -> Result<()> {
    let (group, host, folder) = (ControlGroup::new()?, behind_a_firewall()?, Folder::new("recorded-owners")?);
    let sender = udp_of(&group, &host)?;
    let file = folder.path("drops.jsonl");
    let recorder = Droptrace::start(&["trace", "--raw", "--netns", &host.inum().to_string(), "-o", &file])?;
    refused(&sender)?;
    recorder.finish()?;
    let replayed = Droptrace::spawn(&mut command(&["replay", "--format", "json", &file])?)?.wait()?.stdout;
    let lines = replayed.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let expected = json!(["owner", own_process()?, name(&group)?]);
    let drops: Vec<_> = lines.into_iter().filter(|line| line["schema"] == "droptrace.drop.v1").collect();
    all_are(&drops, DATAGRAMS, &expected)
}
