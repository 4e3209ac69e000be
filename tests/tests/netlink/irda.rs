//! The family of infrared networks, which left Linux in 4.17 and comes back with a module of these tests (`tests/modules/irda`).

use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::{Value, json};
use tests::trials::Unable;
use tracer::netlink::wire::{self, Malformed, Message};
use tracer::netlink::{Connection, Error, Kind};

use crate::modules::{self, Loaded};
use crate::{list, refused, run};

const SET_MODE: u8 = 1;
const GET_MODE: u8 = 2;
const IFNAME: u16 = 1;
const MODE: u16 = 2;

pub(crate) fn irda_is_gone() -> Result<()> {
    let _guard = modules::alone();
    refused(&run(&["netlink", "family", "irda"])?, &["not registered; removed from Linux in 4.17"])
}

pub(crate) fn irda_as_it_was() -> Result<()> {
    let _guard = modules::alone();
    ensure!(modules::load("irda"), Unable("no module irda here: it is built for one kernel of the matrix".to_owned()));
    let _loaded = Loaded("irda");
    let family = crate::json(&["family", "irda"])?;
    shown_as_registered(&family)?;
    let id = u16::try_from(family["id"].as_u64().context("no id")?)?;
    answers_to_those_who_may(id)
}

/// `net/irda/irnetlink.c` of Linux 4.16.
fn shown_as_registered(family: &Value) -> Result<()> {
    ensure!(family["version"] == 1 && family["header_size"] == 0 && family["max_attribute"] == 2, "{family}");
    ensure!(list(family, "groups")?.is_empty(), "it has no groups: {family}");
    let operation = |number, name, admin| {
        json!({"number": number, "name": name, "do": true, "dump": false, "admin": admin, "namespace_admin": false,
               "has_policy": true, "do_policy": 0, "dump_policy": null})
    };
    let operations = json!([operation(SET_MODE, "SET_MODE", true), operation(GET_MODE, "GET_MODE", false)]);
    ensure!(family["operations"] == operations, "droptrace {}\nthe source {operations}", family["operations"]);
    let attribute = |number, name, kind, max_length: Option<u32>| {
        let max = (kind == "u32").then_some("4294967295");
        json!({"number": number, "name": name, "type": kind, "min": max.map(|_| "0"), "max": max, "min_length": null,
               "max_length": max_length, "mask": null, "policy": null, "max_attribute": null})
    };
    let attributes = [attribute(IFNAME, "IFNAME", "nul-string", Some(15)), attribute(MODE, "MODE", "u32", None)];
    let policies = json!([{"index": 0, "attributes": attributes}]);
    ensure!(family["policies"] == policies, "droptrace {}\nthe source {policies}", family["policies"]);
    Ok(())
}

fn answers_to_those_who_may(family: u16) -> Result<()> {
    ask(family, SET_MODE, Some(7))?;
    let refusal = without_network_capability(|| ask(family, SET_MODE, Some(8)))?;
    let errno = refusal.as_ref().err().and_then(Error::errno);
    ensure!(errno == Some(libc::EPERM), "without CAP_NET_ADMIN, SET_MODE: {refusal:?}");
    let mode = without_network_capability(|| ask(family, GET_MODE, None))??;
    ensure!(mode == Some(7), "the mode is {mode:?}");
    Ok(())
}

/// Asks about `lo`; the mode, if that is answered.
fn ask(family: u16, command: u8, mode: Option<u32>) -> Result<Option<u32>, Error> {
    let mut body = vec![command, 1, 0, 0];
    body.extend([7_u16, IFNAME].iter().flat_map(|word| word.to_ne_bytes()));
    body.extend(b"lo\0\0");
    if let Some(mode) = mode {
        body.extend([8, MODE].iter().flat_map(|word| word.to_ne_bytes()));
        body.extend(mode.to_ne_bytes());
    }
    let mut answered = None;
    let take = |message: &Message<'_>| {
        let (_, attributes) = message.generic()?;
        for attribute in wire::attributes(attributes) {
            let attribute = attribute?;
            if attribute.kind == MODE {
                answered = Some(attribute.u32()?);
            }
        }
        Ok::<_, Malformed>(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Open { source })?;
    runtime.block_on(async { Connection::open()?.call_raw("irda", family, &body, Kind::Do, take).await })?;
    Ok(answered)
}

/// Does it on a thread that may not administer networks.
fn without_network_capability<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let without = || {
        let mut sets = capabilities(None)?;
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets)?;
        Ok(work())
    };
    thread::scope(|scope| {
        scope.spawn(without).join().map_err(|_| anyhow!("the thread without CAP_NET_ADMIN panicked"))?
    })
}
