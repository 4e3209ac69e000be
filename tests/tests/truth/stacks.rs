//! The functions through which a packet came, in the lines of `trace`.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, command};
use tests::folder::Folder;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, udp_of};
use tests::trace::Trace;
use tests::trials::trial_as_root;

use super::owners::{behind_a_firewall, in_each_mode, refused};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_stack_leads_from_the_site_to_the_sender", a_stack_leads_from_the_site_to_the_sender),
        trial_as_root("a_line_has_no_stack_unless_it_is_asked_for", a_line_has_no_stack_unless_it_is_asked_for),
        trial_as_root("a_recording_has_the_stacks", a_recording_has_the_stacks),
    ]
}

/// Drops of a firewall, which run in the sender's system call.
fn provoked(host: &Netns) -> Result<()> {
    let group = ControlGroup::new()?;
    refused(&udp_of(&group, host)?)
}

/// The functions of a line's stack.
fn stack(drop: &Value) -> Result<Vec<&str>> {
    let functions = drop["stack"].as_array().with_context(|| format!("no stack: {drop}"))?;
    functions.iter().map(|function| function.as_str().context("a function that is no text")).collect()
}

/// A stack begins at the drop site, and passes the functions of the system call in their order.
fn is_of_the_sender(drop: &Value) -> Result<()> {
    const CALLERS: [&str; 2] = ["udp_sendmsg+", "__sys_sendto+"];
    let stack = stack(drop)?;
    let (symbol, offset) =
        (drop["symbol"].as_str().context("no symbol")?, drop["offset"].as_u64().context("no offset")?);
    let site = format!("{symbol}+{offset:#x}");
    ensure!(stack[0].split(' ').next() == Some(&site), "{} instead of {site}", stack[0]);
    let found = CALLERS.map(|caller| stack.iter().position(|function| function.starts_with(caller)));
    ensure!(found[0] > Some(0) && found[1] > found[0], "{CALLERS:?} at {found:?} of {stack:?}");
    Ok(())
}

fn a_stack_leads_from_the_site_to_the_sender() -> Result<()> {
    in_each_mode(|mode| {
        let host = behind_a_firewall()?;
        let netns = host.inum().to_string();
        let trace = Trace::during(&["--all", "--stack", "--mode", mode, "--netns", &netns], || provoked(&host))?;
        ensure!(trace.drops.len() as u64 == DATAGRAMS, "{} of {DATAGRAMS} drops", trace.drops.len());
        trace.drops.iter().try_for_each(is_of_the_sender)
    })
}

fn a_line_has_no_stack_unless_it_is_asked_for() -> Result<()> {
    let host = behind_a_firewall()?;
    let trace = Trace::during(&["--all", "--netns", &host.inum().to_string()], || provoked(&host))?;
    ensure!(trace.drops.len() as u64 == DATAGRAMS, "{} of {DATAGRAMS} drops", trace.drops.len());
    let other = trace.drops.iter().find(|drop| drop.get("stack") != Some(&Value::Null));
    ensure!(other.is_none(), "{other:?}");
    Ok(())
}

fn a_recording_has_the_stacks() -> Result<()> {
    let host = behind_a_firewall()?;
    let folder = Folder::new("recorded-stacks")?;
    let file = folder.path("drops.jsonl");
    let netns = host.inum().to_string();
    let droptrace = Droptrace::start(&["trace", "--raw", "--stack", "--netns", &netns, "-o", &file])?;
    provoked(&host)?;
    droptrace.finish()?;
    let replayed = Droptrace::spawn(&mut command(&["replay", "--format", "json", &file])?)?.wait()?.stdout;
    let lines = replayed.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let drops: Vec<_> = lines.iter().filter(|line| line["schema"] == "droptrace.drop.v1").collect();
    ensure!(drops.len() as u64 == DATAGRAMS, "{} of {DATAGRAMS} drops", drops.len());
    drops.into_iter().try_for_each(is_of_the_sender)
}
