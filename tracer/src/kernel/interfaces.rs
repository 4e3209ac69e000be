//! Interfaces by name and by index, in this and in other network namespaces.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::netns;

/// The index of an interface of the namespace `netns` (inode number).
///
/// Fails with `NotFound` when there is no such interface, or no process and no name that leads to the namespace.
pub fn index(netns: u32, name: &str) -> io::Result<u32> {
    let look_up = || Ok(name_to_index(socket()?, name)?);
    if netns::own()? == netns {
        return look_up();
    }
    let namespace = File::open(path_to(netns)?)?;
    let within = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        look_up()
    };
    // On a thread that ends, so that nothing else of this process changes its namespace.
    let result = std::thread::scope(|scope| scope.spawn(within).join());
    result.unwrap_or_else(|_| Err(io::Error::other("the thread in the other namespace panicked")))
}

/// The name of an interface of this process's namespace.
pub fn name(index: u32) -> Option<String> {
    index_to_name(socket().ok()?, index).ok()
}

fn socket() -> io::Result<impl AsFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// A file that stands for the namespace: of a process in it, or of a name that was given to it.
fn path_to(netns: u32) -> io::Result<PathBuf> {
    let processes = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path().join("ns/net")));
    let named = fs::read_dir("/run/netns").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == u64::from(netns));
    named.chain(processes).find(is_it).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("no process and no name leads to network namespace {netns}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_by_name_and_index() {
        let index = index(netns::own().unwrap(), "lo").unwrap();
        assert_eq!(name(index).as_deref(), Some("lo"));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let missing = index(netns::own().unwrap(), "no-such-if").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
        assert_eq!(index(1, "lo").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(name(u32::MAX), None);
    }
}
