//! Kernel modules: which of them a machine gets, and the lists that load them when the kernel asks for one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::support::process;

/// How modules may be compressed, and what undoes it.
const COMPRESSIONS: [(&str, &str); 3] = [("xz", "xz"), ("zst", "zstd"), ("gz", "gzip")];
/// Modules that one process decompresses: command lines have an end.
const BATCH: usize = 500;

/// The folder of those that did not come with the kernel.
pub(super) const EXTRA: &str = "extra";

/// What tests and developers may want: the network stack, its virtual devices, cryptography, what we built.
const WANTED: [&str; 12] = [
    "extra/",
    "kernel/net/",
    "kernel/crypto/",
    "kernel/drivers/net/bonding/",
    "kernel/drivers/net/ipvlan/",
    "kernel/drivers/net/macvlan",
    "kernel/drivers/net/netdevsim/",
    "kernel/drivers/net/ovpn/",
    "kernel/drivers/net/team/",
    "kernel/drivers/net/vxlan/",
    "kernel/drivers/net/wireguard/",
    "kernel/drivers/net/netkit",
];
/// Devices that are one module each.
const DEVICES: &str = "kernel/drivers/net/";
/// Large, and of no use in a machine that is alone.
const UNWANTED: [&str; 8] = [
    "kernel/net/sunrpc/",
    "kernel/net/ceph/",
    "kernel/net/rds/",
    "kernel/net/smc/",
    "kernel/net/9p/",
    "kernel/net/bluetooth/",
    "kernel/net/wireless/",
    "kernel/net/mac80211/",
];

/// Decompresses all modules of a folder `…/lib/modules/RELEASE` and writes their lists.
pub(super) fn prepare(folder: &Path, busybox: &Path) -> Result<()> {
    for (extension, program) in COMPRESSIONS {
        let files = process::output(Command::new("find").arg(folder).args(["-name", &format!("*.ko.{extension}")]))?;
        let files: Vec<&str> = files.lines().collect();
        for batch in files.chunks(BATCH) {
            process::run(Command::new(program).args(["-d", "-f", "-q"]).args(batch))?;
        }
    }
    list(folder, busybox)
}

/// Writes the lists of the modules of such a folder, by which they are found and loaded with what they need.
pub(super) fn list(folder: &Path, busybox: &Path) -> Result<()> {
    let release = folder.file_name().context("the modules' folder has no name")?;
    let base = folder.ancestors().nth(3).context("the modules' folder is not in lib/modules")?;
    process::run(Command::new(busybox).args(["depmod", "-b"]).arg(base).arg(release))
}

/// The modules that a machine gets, with those that they need; paths within `folder`.
pub(super) fn wanted(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = folder.join("modules.dep");
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    Ok(select(&text).into_iter().map(PathBuf::from).collect())
}

fn select(dependencies: &str) -> BTreeSet<&str> {
    let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(module, _)| is_wanted(module))
        .flat_map(|(module, needs)| [module].into_iter().chain(needs.split_whitespace()))
        .collect()
}

fn is_wanted(module: &str) -> bool {
    let starts = |folders: &[&str]| folders.iter().any(|folder| module.starts_with(folder));
    let is_device = module.strip_prefix(DEVICES).is_some_and(|name| !name.contains('/'));
    (starts(&WANTED) || is_device) && !starts(&UNWANTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_with_what_they_need() {
        let selected = select(
            "kernel/drivers/net/vxlan/vxlan.ko: kernel/net/ipv4/udp_tunnel.ko kernel/lib/x.ko\n\
             kernel/drivers/net/veth.ko:\n\
             kernel/drivers/net/ethernet/big.ko: kernel/lib/big.ko\n\
             kernel/net/ceph/libceph.ko: kernel/lib/ceph.ko\n\
             kernel/lib/x.ko:\n",
        );
        let expected = [
            "kernel/drivers/net/veth.ko",
            "kernel/drivers/net/vxlan/vxlan.ko",
            "kernel/lib/x.ko",
            "kernel/net/ipv4/udp_tunnel.ko",
        ];
        assert_eq!(selected.into_iter().collect::<Vec<_>>(), expected);
    }
}
