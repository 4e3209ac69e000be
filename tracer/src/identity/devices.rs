//! The network devices of this network namespace, and their classes.

use std::fs;
use std::path::Path;

use super::interfaces;

/// The folder with one entry for each device. It shows the devices of the namespace that mounted it.
const FOLDER: &str = "/sys/class/net";
/// `ARPHRD_LOOPBACK` (`include/uapi/linux/if_arp.h`).
const LOOPBACK: &str = "772";

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// The name of the interface.
    pub(crate) name: String,
    /// The index of the interface.
    pub(crate) ifindex: u32,
    /// The class of the device: the kernel's `DEVTYPE` (`bridge`, `vlan`, `wlan`, …). If it has none: `loopback`,
    /// `tun`, `physical` for a device on a bus, `virtual` for any other device, such as veth.
    pub(crate) class: String,
    /// The driver of the device; absent unless the device is on a bus.
    pub(crate) driver: Option<String>,
}

/// The devices of this namespace, by name; empty if the system does not show them.
pub(crate) fn of_this_namespace() -> Vec<Device> {
    let mut devices = in_folder(Path::new(FOLDER));
    devices.retain(|device| interfaces::name(device.ifindex).as_ref() == Some(&device.name));
    devices
}

/// The class of a packet's interface, from its name and index. `is_own` says whether the interface is in this
/// namespace; only the devices of this namespace (`devices`) are known. The first device of each other namespace is its
/// loopback (`LOOPBACK_IFINDEX`, `include/net/net_namespace.h`).
pub(crate) fn class_of(devices: &[Device], name: &str, ifindex: u32, is_own: bool) -> Option<String> {
    if name == "lo" && ifindex == 1 {
        return Some("loopback".to_owned());
    }
    let is_it = |device: &&Device| device.name == name && device.ifindex == ifindex;
    let device = devices.iter().find(is_it).filter(|_| is_own)?;
    Some(device.class.clone())
}

fn in_folder(folder: &Path) -> Vec<Device> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut devices: Vec<_> = entries.filter_map(|entry| device(&entry.path())).collect();
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    devices
}

/// Reads one entry. It is `None` for a file that is not a device, and for a device that has gone in the meantime.
fn device(folder: &Path) -> Option<Device> {
    let name = folder.file_name()?.to_str()?.to_owned();
    let ifindex = line(&folder.join("ifindex"))?.parse().ok()?;
    let link = fs::read_link(folder.join("device/driver")).ok();
    let driver = link.and_then(|link| Some(link.file_name()?.to_str()?.to_owned()));
    Some(Device { name, ifindex, class: class(folder), driver })
}

fn class(folder: &Path) -> String {
    let uevent = fs::read_to_string(folder.join("uevent")).unwrap_or_default();
    let class = if line(&folder.join("type")).as_deref() == Some(LOOPBACK) {
        "loopback"
    } else if let Some(kind) = uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE=")) {
        kind
    } else if folder.join("tun_flags").exists() {
        "tun"
    } else if folder.join("device").exists() {
        "physical"
    } else {
        "virtual"
    };
    class.to_owned()
}

fn line(file: &Path) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn device_classes_are_distinguished() {
        let folder = std::env::temp_dir().join(format!("droptrace-devices-{}", std::process::id()));
        let files = [
            ("br0", "type", "1\n"),
            ("br0", "uevent", "DEVTYPE=bridge\nINTERFACE=br0\nIFINDEX=5\n"),
            ("eth0", "type", "1\n"),
            ("eth0", "uevent", "INTERFACE=eth0\n"),
            ("lo", "type", "772\n"),
            ("tap0", "tun_flags", "0x1002\n"),
            ("veth1", "type", "1\n"),
        ];
        for (index, (device, file, text)) in files.iter().enumerate() {
            fs::create_dir_all(folder.join(device)).unwrap();
            fs::write(folder.join(device).join(file), text).unwrap();
            fs::write(folder.join(device).join("ifindex"), format!("{index}\n")).unwrap();
        }
        fs::create_dir_all(folder.join("eth0/device")).unwrap();
        symlink("../../bus/virtio/drivers/virtio_net", folder.join("eth0/device/driver")).unwrap();
        // This file is like `/sys/class/net/bonding_masters`, which is not a device.
        fs::write(folder.join("bonding_masters"), "").unwrap();
        let devices = in_folder(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let found: Vec<_> = devices
            .iter()
            .map(|device| (device.name.as_str(), device.class.as_str(), device.driver.as_deref()))
            .collect();
        let expected = [
            ("br0", "bridge", None),
            ("eth0", "physical", Some("virtio_net")),
            ("lo", "loopback", None),
            ("tap0", "tun", None),
            ("veth1", "virtual", None),
        ];
        assert_eq!(found, expected);
        assert_eq!(devices[1].ifindex, 3);
    }

    #[test]
    fn loopback_device_is_listed() {
        if !Path::new(FOLDER).is_dir() {
            return crate::skipped("loopback_device_is_listed", "no sysfs here");
        }
        assert!(of_this_namespace().iter().any(|device| device.name == "lo" && device.class == "loopback"));
    }
}
