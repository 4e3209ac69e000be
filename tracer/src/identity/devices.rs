//! Network devices of this network namespace, and what kind each one is.

use std::fs;
use std::path::Path;

use super::interfaces;

/// A folder for each device. It is that of the namespace which mounted it.
const FOLDER: &str = "/sys/class/net";
/// `ARPHRD_LOOPBACK` (`include/uapi/linux/if_arp.h`).
const LOOPBACK: &str = "772";

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The interface's name.
    pub name: String,
    /// The interface's index.
    pub ifindex: u32,
    /// What the kernel calls devices of its kind (`bridge`, `vlan`, `wlan`, …: its `DEVTYPE`); without such a word
    /// `loopback`, `tun`, `physical` for a device on a bus, `virtual` for any other, as veth.
    pub class: String,
    /// The driver of a device on a bus.
    pub driver: Option<String>,
}

/// The devices of this namespace, by name; none where the system does not tell.
pub fn of_this_namespace() -> Vec<Device> {
    let mut devices = in_folder(Path::new(FOLDER));
    devices.retain(|device| interfaces::name(device.ifindex).as_ref() == Some(&device.name));
    devices
}

/// What kind a packet's interface is, given its name and index and whether it is one of this namespace, whose devices
/// are given: only they are known. But the first device of each namespace is its loopback (`LOOPBACK_IFINDEX`,
/// `include/net/net_namespace.h`).
pub fn class_of(devices: &[Device], name: &str, ifindex: u32, is_own: bool) -> Option<String> {
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

/// None for what is no device, and for one that has gone in the meantime.
fn device(folder: &Path) -> Option<Device> {
    let name = folder.file_name()?.to_str()?.to_owned();
    let ifindex = line(&folder.join("ifindex"))?.parse().ok()?;
    let link = fs::read_link(folder.join("device/driver")).ok();
    let driver = link.and_then(|link| Some(link.file_name()?.to_str()?.to_owned()));
    Some(Device { name, ifindex, class: class(folder), driver })
}

fn class(folder: &Path) -> String {
    let told = fs::read_to_string(folder.join("uevent")).unwrap_or_default();
    let class = if line(&folder.join("type")).as_deref() == Some(LOOPBACK) {
        "loopback"
    } else if let Some(kind) = told.lines().find_map(|line| line.strip_prefix("DEVTYPE=")) {
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
    fn kinds_are_told_apart() {
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
        // As `/sys/class/net/bonding_masters`: no device.
        fs::write(folder.join("bonding_masters"), "").unwrap();
        let devices = in_folder(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let told: Vec<_> = devices
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
        assert_eq!(told, expected);
        assert_eq!(devices[1].ifindex, 3);
    }

    #[test]
    fn the_loopback_is_there() {
        if !Path::new(FOLDER).is_dir() {
            return crate::skipped("the_loopback_is_there", "no sysfs here");
        }
        assert!(of_this_namespace().iter().any(|device| device.name == "lo" && device.class == "loopback"));
    }
}
