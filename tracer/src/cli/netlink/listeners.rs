//! `droptrace netlink listeners`: the sockets that receive multicasts, and their lost messages.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::table;
use crate::cli::args::{Format, ShowArgs};
use crate::domain::report::Host;
use crate::identity::netlink_sockets::{Listener, Process, listeners};
use crate::identity::netns::{self, Namespaces};
use crate::netlink::{Connection, Family, names};
use crate::outside::to_json;
use crate::render::output::Output;
use crate::run::host;

/// `NETLINK_GENERIC` (`include/uapi/linux/netlink.h`).
const GENERIC: u32 = 16;

pub(super) async fn run(args: &ShowArgs) -> Result<()> {
    let mut output = Output::open(args.results.file.output.as_deref())?;
    let found = listeners().context("cannot read /proc/self/net/netlink")?;
    let families = Family::list(&mut Connection::open()?).await?;
    let named = Named::new(&families, &found, &mut Namespaces::new());
    match args.results.format {
        Format::Text => named.write_text(&mut output, netns::own().ok())?,
        Format::Json => named.write_json(&mut output, &host())?,
    }
    Ok(output.flush()?)
}

/// Listeners, and the names for their numbers.
struct Named<'n> {
    listeners: &'n [Listener],
    generic: HashMap<u32, (&'n str, &'n str)>,
    namespaces: HashMap<u32, Arc<str>>,
}

#[derive(Serialize)]
struct Document<'d> {
    schema: &'static str,
    host: &'d str,
    kernel: &'d str,
    listeners: Vec<ListenerJson<'d>>,
}

#[derive(Serialize)]
struct ListenerJson<'d> {
    protocol: u32,
    protocol_name: Option<&'static str>,
    port: u32,
    groups: Vec<GroupJson<'d>>,
    all_groups: bool,
    used: u32,
    capacity: Option<u32>,
    drops: u32,
    inode: u64,
    netns: Option<u32>,
    netns_name: Option<&'d str>,
    processes: Vec<ProcessJson<'d>>,
}

#[derive(Serialize)]
struct GroupJson<'d> {
    id: u32,
    family: Option<&'d str>,
    name: Option<&'d str>,
}

#[derive(Serialize)]
struct ProcessJson<'d> {
    pid: u32,
    name: &'d str,
}

impl<'n> Named<'n> {
    fn new(families: &'n [Family], listeners: &'n [Listener], namespaces: &mut Namespaces) -> Self {
        let groups = families.iter().flat_map(|family| family.groups.iter().map(move |group| (family, group)));
        let generic = groups.map(|(family, group)| (group.id, (family.name.as_str(), group.name.as_str())));
        let namespaces =
            listeners.iter().filter_map(|listener| Some((listener.netns?, namespaces.name(listener.netns?)?)));
        Self { listeners, generic: generic.collect(), namespaces: namespaces.collect() }
    }

    /// The family of a generic netlink group, and the name of the group.
    fn group(&self, protocol: u32, id: u32) -> (Option<&'n str>, Option<&'n str>) {
        match self.generic.get(&id) {
            Some((family, name)) if protocol == GENERIC => (Some(family), Some(name)),
            _ => (None, names::group(protocol, id)),
        }
    }

    fn write_text(&self, out: &mut impl Write, own: Option<u32>) -> io::Result<()> {
        if self.listeners.is_empty() {
            return writeln!(out, "no socket receives netlink multicasts");
        }
        let headings = ["PROTOCOL", "PORT", "USED", "BUFFER", "FULL", "DROPS", "PROCESS", "NETNS", "GROUPS"];
        let rows = self.listeners.iter().map(|listener| self.row(listener, own));
        let rows: Vec<_> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
        let right = [false, true, true, true, true, true, false, false, false];
        table::write(out, 0, right, &rows)?;
        if self.listeners.iter().all(|listener| listener.has_all_groups) {
            return Ok(());
        }
        writeln!(out, "+: and groups above 32, if any, which the kernel does not report here")
    }

    fn row(&self, listener: &Listener, own: Option<u32>) -> [String; 9] {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let protocol = names::protocol(listener.protocol);
        let full = listener.capacity.filter(|capacity| *capacity > 0);
        let full = full.map(|capacity| format!("{} %", u64::from(listener.used) * 100 / u64::from(capacity)));
        let processes = listener.processes.iter().map(|Process { id, name }| format!("{name} ({id})"));
        let processes = processes.collect::<Vec<_>>().join(", ");
        let netns = listener.netns.filter(|netns| Some(*netns) != own);
        let name = |netns: u32| self.namespaces.get(&netns).map_or_else(|| netns.to_string(), ToString::to_string);
        [
            protocol.map_or_else(|| listener.protocol.to_string(), str::to_owned),
            listener.port.to_string(),
            listener.used.to_string(),
            or_none(listener.capacity.map(|capacity| capacity.to_string())),
            or_none(full),
            listener.drops.to_string(),
            or_none(Some(processes).filter(|processes| !processes.is_empty())),
            or_none(netns.map(name)),
            self.groups(listener),
        ]
    }

    fn groups(&self, listener: &Listener) -> String {
        let groups = listener.groups.iter().map(|id| match self.group(listener.protocol, *id) {
            (Some(family), Some(name)) => format!("{family}:{name}"),
            (_, Some(name)) => name.to_owned(),
            (_, None) => id.to_string(),
        });
        let more = (!listener.has_all_groups).then(|| "+".to_owned());
        groups.chain(more).collect::<Vec<_>>().join(" ")
    }

    fn write_json(&self, out: &mut impl Write, host: &Host) -> io::Result<()> {
        let document = Document {
            schema: "droptrace.netlink_listeners.v1",
            host: &host.name,
            kernel: &host.kernel,
            listeners: self.listeners.iter().map(|listener| self.json(listener)).collect(),
        };
        to_json(&mut *out, &document)?;
        out.write_all(b"\n")
    }

    fn json(&self, listener: &'n Listener) -> ListenerJson<'_> {
        let groups = listener.groups.iter().map(|id| {
            let (family, name) = self.group(listener.protocol, *id);
            GroupJson { id: *id, family, name }
        });
        let processes = listener.processes.iter().map(|Process { id, name }| ProcessJson { pid: *id, name });
        ListenerJson {
            protocol: listener.protocol,
            protocol_name: names::protocol(listener.protocol),
            port: listener.port,
            groups: groups.collect(),
            all_groups: listener.has_all_groups,
            used: listener.used,
            capacity: listener.capacity,
            drops: listener.drops,
            inode: listener.inode,
            netns: listener.netns,
            netns_name: listener.netns.and_then(|netns| self.namespaces.get(&netns)).map(|name| &**name),
            processes: processes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Group;

    fn found() -> [Listener; 3] {
        let process = |id, name: &str| Process { id, name: name.into() };
        let udev = Listener {
            protocol: 15,
            port: 812,
            groups: vec![1, 2],
            has_all_groups: true,
            used: 106_496,
            capacity: Some(212_992),
            drops: 7,
            inode: 487,
            netns: Some(1),
            processes: vec![process(812, "systemd-udevd"), process(901, "udev\x1b[2J")],
        };
        let generic = Listener { protocol: 16, groups: vec![1, 10], inode: 488, processes: vec![], ..udev.clone() };
        let other =
            Listener { protocol: 17, port: 0, capacity: None, has_all_groups: false, netns: Some(2), ..udev.clone() };
        [udev, generic, other]
    }

    fn shown(listeners: &[Listener], show: impl FnOnce(&Named<'_>, &mut Vec<u8>) -> io::Result<()>) -> String {
        let group = Group { name: "events".into(), id: 10 };
        let families = [Family { name: "NET_DM".into(), id: 27, version: 2, groups: vec![group] }];
        let mut named = Named::new(&families, listeners, &mut Namespaces::new());
        named.namespaces = HashMap::from([(2, "blue".into())]);
        let mut out = Vec::new();
        show(&named, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_for_each_listener() {
        insta::assert_snapshot!(shown(&found(), |named, out| named.write_text(out, Some(1))));
        let nobody = shown(&[], |named, out| named.write_text(out, Some(1)));
        assert_eq!(nobody, "no socket receives netlink multicasts\n");
    }

    #[test]
    fn a_document_with_all_listeners() {
        let host = Host { name: "lab-1".into(), kernel: "6.18.44".into() };
        insta::assert_snapshot!(shown(&found(), |named, out| named.write_json(out, &host)));
    }
}
