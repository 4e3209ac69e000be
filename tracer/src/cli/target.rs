//! Which drops are wanted: the namespace and the interface that were typed, as the kernel knows them.

use std::io;

use anyhow::{Context, Result};

use super::args::CommonArgs;
use crate::kernel::{interfaces, netns};

/// What the kernel program compares with; 0 for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) netns: u32,
    pub(super) ifindex: u32,
}

/// Resolves what was typed. An interface by name is one of a namespace, which is this process's own unless typed.
pub(super) fn resolve(args: &CommonArgs) -> Result<Target> {
    let wanted = args.netns.as_deref().map(netns::parse_target).transpose().context("--netns")?;
    match args.interface.as_deref() {
        None => Ok(Target { netns: wanted.unwrap_or(0), ifindex: 0 }),
        Some(name) => interface(wanted, name),
    }
}

fn interface(wanted: Option<u32>, name: &str) -> Result<Target> {
    let own = || netns::own().context("cannot tell this process's network namespace");
    let netns = wanted.map_or_else(own, Ok)?;
    let ifindex = match interfaces::index(netns, name) {
        Ok(ifindex) => ifindex,
        Err(error) => match name.parse() {
            Ok(ifindex) if ifindex > 0 => ifindex,
            _ => return Err(explain(error)).with_context(|| format!("--interface {name}")),
        },
    };
    Ok(Target { netns, ifindex })
}

fn explain(error: io::Error) -> anyhow::Error {
    if error.raw_os_error() == Some(libc::ENODEV) {
        anyhow::anyhow!("no such interface in this network namespace (`ip link` lists them; --netns chooses another)")
    } else {
        error.into()
    }
}
