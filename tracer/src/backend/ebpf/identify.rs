//! Asks the kernel for the network namespace of an open file, through a program that reads this process's table of
//! descriptors. The question needs no capability to enter the namespace.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use tracer_common::NamespaceAnswer;
use zerocopy::{FromZeros, IntoBytes};

use super::sys::{RawMap, run_program};
use crate::identity::netns::{ByInode, BySocket, Identify, NetnsId, Target};

/// The program, and the map that holds its answer.
pub struct NamespaceQuestion {
    program: OwnedFd,
    /// The map of the answer; the lock admits one question at a time.
    answer: Mutex<RawMap>,
}

impl NamespaceQuestion {
    pub(super) fn new(program: OwnedFd, answer: OwnedFd) -> Self {
        Self { program, answer: Mutex::new(RawMap::new(answer, size_of::<u32>(), size_of::<NamespaceAnswer>())) }
    }

    /// The namespace, and the kernel's clocks. `found` is 0 where the kernel's structures are not as expected.
    pub(super) fn ask(&self, file: BorrowedFd<'_>) -> io::Result<NamespaceAnswer> {
        let map = self.answer.lock().map_err(|_| io::Error::other("another question panicked"))?;
        run_program(self.program.as_fd(), u64::from(file.as_raw_fd().cast_unsigned()))?;
        let mut answer = NamespaceAnswer::new_zeroed();
        map.lookup(&0_u32.to_ne_bytes(), answer.as_mut_bytes())?;
        Ok(answer)
    }
}

impl NamespaceQuestion {
    /// The number that the kernel program has for a namespace: the cookie, or the inode number on kernels without
    /// cookies.
    pub(super) fn number_of(&self, wanted: &Target, has_cookies: bool) -> io::Result<u64> {
        if !has_cookies {
            return Ok(wanted.inum.into());
        }
        let namespace = wanted.namespace()?;
        let cookie = match self.identify(namespace)?.cookie {
            Some(cookie) => Some(cookie),
            // The program may read no memory (lockdown before 6.2), so this process enters the namespace and asks
            // there.
            None => BySocket.identify(namespace)?.cookie,
        };
        cookie.map(NonZeroU64::get).ok_or_else(|| io::Error::other("the kernel does not give it"))
    }
}

impl Identify for NamespaceQuestion {
    fn identify(&self, namespace: BorrowedFd<'_>) -> io::Result<NetnsId> {
        let answer = self.ask(namespace)?;
        let inum = ByInode.identify(namespace)?.inum;
        // Otherwise the kernel's structures are not as expected.
        let is_right = answer.found != 0 && answer.inum == inum;
        Ok(NetnsId { cookie: NonZeroU64::new(answer.cookie).filter(|_| is_right), inum })
    }
}
