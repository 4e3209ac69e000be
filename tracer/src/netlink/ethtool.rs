//! The counters that drivers name by themselves (`ethtool -S`), of the interfaces of the network namespace of the calling thread
//! (`net/ethtool/ioctl.c`). The requests need no capability, and take the lock of the kernel's network configuration.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

pub(crate) use super::sys::Room;

/// `ETHTOOL_GSSET_INFO`, `ETHTOOL_GSTRINGS` and `ETHTOOL_GSTATS` (`include/uapi/linux/ethtool.h`).
const SET_INFO: u32 = 0x37;
const STRINGS: u32 = 0x1b;
const VALUES: u32 = 0x1d;
/// `ETH_SS_STATS`, `ETH_GSTRING_LEN`.
const OF_COUNTERS: u32 = 1;
const NAME: usize = 32;
/// The bytes before the names, and before the values.
const BEFORE_NAMES: usize = 12;
const BEFORE_VALUES: usize = 8;

/// A socket for these requests, and memory for the answers.
#[derive(Debug)]
pub(crate) struct Ethtool<'r> {
    socket: OwnedFd,
    room: &'r mut Room,
}

impl<'r> Ethtool<'r> {
    /// For the interfaces of the namespace of the calling thread.
    ///
    /// # Errors
    /// Those of `socket`.
    pub(crate) fn open(room: &'r mut Room) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, room })
    }

    /// The name of an interface.
    ///
    /// # Errors
    /// `ENODEV` if there is no interface with this index.
    pub(crate) fn interface(&self, ifindex: u32) -> io::Result<String> {
        Ok(index_to_name(&self.socket, ifindex)?)
    }

    /// The names of the counters, in the order of their values.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the driver has no counters; `InvalidData` if it has more than there is room for.
    pub(crate) fn names(&mut self, interface: &str) -> io::Result<Vec<String>> {
        // The mask of sets is the third word, and half of the fourth.
        self.ask(interface, &[SET_INFO, 0, 1 << OF_COUNTERS, 0, 0])?;
        let count = if self.word(2) == 0 { 0 } else { self.word(4) };
        if count == 0 {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        self.ask(interface, &[STRINGS, OF_COUNTERS, count])?;
        let length = usize::try_from(self.word(2)).map_err(io::Error::other)?.saturating_mul(NAME);
        let names = self.room.bytes().get(BEFORE_NAMES..BEFORE_NAMES + length).ok_or(io::ErrorKind::InvalidData)?;
        Ok(names.chunks_exact(NAME).map(text).collect())
    }

    /// The values of the counters; `None` if there are not `count` any more.
    ///
    /// # Errors
    /// As [`Self::names`].
    pub(crate) fn values(
        &mut self,
        interface: &str,
        count: usize,
    ) -> io::Result<Option<impl Fn(usize) -> Option<u64>>> {
        let expected = u32::try_from(count).map_err(io::Error::other)?;
        self.ask(interface, &[VALUES, expected])?;
        if self.word(1) != expected {
            return Ok(None);
        }
        let values = &*self.room.bytes();
        Ok(Some(move |slot: usize| {
            let value = values.get(BEFORE_VALUES + slot * size_of::<u64>()..)?.first_chunk()?;
            (slot < count).then(|| u64::from_ne_bytes(*value))
        }))
    }

    fn ask(&mut self, interface: &str, request: &[u32]) -> io::Result<()> {
        for (to, word) in self.room.bytes().chunks_exact_mut(size_of::<u32>()).zip(request) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        self.room.ethtool(self.socket.as_fd(), interface)
    }

    /// A word of the answer.
    fn word(&mut self, at: usize) -> u32 {
        let word = self.room.bytes().chunks_exact(size_of::<u32>()).nth(at).and_then(<[u8]>::first_chunk);
        word.map_or(0, |word| u32::from_ne_bytes(*word))
    }
}

/// The text of a name, which ends with its first zero.
fn text(name: &[u8]) -> String {
    let end = memchr::memchr(0, name).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_no_counters_of_a_driver() {
        let mut room = Room::new().unwrap();
        let mut ethtool = Ethtool::open(&mut room).unwrap();
        let lo = ethtool.interface(1).unwrap();
        assert_eq!(ethtool.names(&lo).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert!(ethtool.values(&lo, 1).is_err() && ethtool.names("none-of-these-here").is_err());
        assert_eq!(ethtool.interface(u32::MAX >> 1).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn room_is_readable_to_its_end() {
        let mut room = Room::new().unwrap();
        let bytes = room.bytes();
        *bytes.last_mut().unwrap() = 7;
        assert_eq!(bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 7);
    }

    #[test]
    fn name_ends_with_its_first_zero() {
        assert_eq!(text(b"rx_drops\0\0x"), "rx_drops");
        assert_eq!(text(b"  rx [0] over\xff"), "rx [0] over\u{fffd}");
    }
}
