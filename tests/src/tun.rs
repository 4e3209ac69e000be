//! Tun and tap devices: the test is the cable's other end.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Result, ensure};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::netns::Netns;
use crate::sys;
use crate::trials::Unable;

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;
const TUNSETTXFILTER: libc::c_ulong = 0x4004_54d1;
const TUNSETFILTEREBPF: libc::c_ulong = 0x8004_54e1;
const IFF_NO_PI: u16 = 0x1000;

/// The content of the device's packets.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub enum Kind {
    /// IP packets.
    Tun = 1,
    /// Ethernet frames.
    Tap = 2,
}

/// A device, gone with its handle.
#[derive(Debug)]
pub struct Tun(File);

impl Tun {
    /// Creates `name` in a namespace; it is down.
    pub fn create(netns: &Netns, name: &str, kind: Kind) -> Result<Self> {
        netns.run(|| {
            let file = File::options()
                .read(true)
                .write(true)
                .open("/dev/net/tun")
                .map_err(|error| Unable(format!("opening /dev/net/tun: {error}")))?;
            // struct ifreq: name, flags.
            let mut request = [0; 40];
            ensure!(name.len() < 16, "{name} is too long for an interface");
            request[..name.len()].copy_from_slice(name.as_bytes());
            request[16..18].copy_from_slice(&(kind as u16 | IFF_NO_PI).to_ne_bytes());
            sys::ioctl(&file, TUNSETIFF, &mut request).map_err(|error| Unable(format!("creating {name}: {error}")))?;
            Ok(Self(file))
        })
    }

    /// Leaves the device to its namespace, with which it ends (`TUNSETPERSIST`): the kernel takes many together, and each
    /// by itself takes milliseconds.
    pub fn leave(self) -> io::Result<()> {
        // Anything but 0 says yes: the address of the word does.
        sys::ioctl(&self.0, TUNSETPERSIST, &mut [1; 8])
    }

    /// Takes from the host only frames for this address (`TUNSETTXFILTER`).
    pub fn accept_only(&self, address: [u8; 6]) -> io::Result<()> {
        // struct tun_filter: flags, count, addresses.
        let mut filter = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        filter[4..].copy_from_slice(&address);
        sys::ioctl(&self.0, TUNSETTXFILTER, &mut filter)
    }

    /// Takes from the host only what a socket filter lets through (`TUNSETFILTEREBPF`).
    pub fn filter(&self, program: &OwnedFd) -> io::Result<()> {
        sys::ioctl(&self.0, TUNSETFILTEREBPF, &mut program.as_raw_fd().to_ne_bytes())
    }

    /// Makes writing fail rather than wait.
    pub fn do_not_block(&self) -> io::Result<()> {
        Ok(fcntl_setfl(&self.0, fcntl_getfl(&self.0)? | OFlags::NONBLOCK)?)
    }

    /// Writes one packet, which the kernel has dealt with when the call is back.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.0).write_all(packet)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
