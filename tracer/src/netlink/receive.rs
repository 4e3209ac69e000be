//! Receiving: many datagrams by one call, nothing allocated for them.

use std::io;
use std::os::fd::AsFd as _;

use super::debug;
use super::socket::Socket;
use super::sys::{self, BATCH, Envelope};

/// What there was to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many datagrams, now in the receiver.
    Datagrams(usize),
    /// The buffer was full since the last time, so that something was lost (`ENOBUFS`); what is in it comes next.
    Overrun,
    /// Nothing yet.
    Nothing,
}

/// One datagram from the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'r> {
    /// Its bytes.
    pub bytes: &'r [u8],
    /// It was longer than the receiver's slots: the rest is lost.
    pub is_truncated: bool,
}

/// Room for a batch of datagrams.
pub struct Receiver {
    buffer: Vec<u8>,
    slot: usize,
    envelopes: [Envelope; BATCH],
    received: usize,
    foreign: u64,
}

impl Receiver {
    /// Room for up to 64 datagrams at once, each of up to `slot` bytes. The system gives memory for what is used.
    pub fn new(slots: usize, slot: usize) -> Self {
        let (slots, slot) = (slots.clamp(1, BATCH), slot.max(1));
        Self { buffer: vec![0; slots * slot], slot, envelopes: [Envelope::default(); BATCH], received: 0, foreign: 0 }
    }

    /// Receives what is there, without waiting. What was received before is gone.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<Received> {
        self.received = 0;
        match sys::receive_batch(socket.raw().as_fd(), &mut self.buffer, self.slot, &mut self.envelopes) {
            Ok(received) => {
                self.received = received;
                let kernels = self.datagrams().count();
                self.foreign += (received - kernels) as u64;
                self.datagrams().for_each(|datagram| debug::received(datagram.bytes, socket.is_generic()));
                Ok(Received::Datagrams(kernels))
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => Ok(Received::Overrun),
                Some(libc::EAGAIN | libc::EINTR) => Ok(Received::Nothing),
                _ => Err(error),
            },
        }
    }

    /// What was received, as far as the kernel sent it.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let received = self.buffer.chunks_exact(self.slot).zip(&self.envelopes).take(self.received);
        received
            .filter(|(_, envelope)| envelope.sender == 0)
            .map(|(bytes, envelope)| Datagram { bytes: &bytes[..envelope.length], is_truncated: envelope.is_truncated })
    }

    /// Datagrams that other processes sent, and that were left unread.
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::ONE_AT_A_TIME;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_full_buffer_is_a_value_and_its_losses_are_counted() {
        let _alone = ONE_AT_A_TIME.lock();
        run(async {
            let socket = Socket::open().unwrap();
            let obtained = socket.set_receive_buffer(1).unwrap();
            assert!(obtained > 0 && obtained < 1 << 16, "{obtained}");
            let request = |sequence: u32| {
                // NLM_F_REQUEST of a family that there is not: answered with an error.
                let words = [16_u32, 0x0001_0fff, sequence, 0];
                words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>()
            };
            for sequence in 0..500 {
                socket.send(&request(sequence)).unwrap();
            }
            let (mut heard, mut overruns) = (0, 0);
            let mut receiver = Receiver::new(64, 256);
            loop {
                match receiver.receive(&socket).unwrap() {
                    Received::Datagrams(datagrams) => heard += datagrams,
                    Received::Overrun => overruns += 1,
                    Received::Nothing => break,
                }
            }
            assert_eq!(overruns, 1);
            assert_eq!(heard + socket.dropped().unwrap() as usize, 500);
            assert_eq!(receiver.foreign(), 0);
        });
    }

    #[test]
    fn what_does_not_fit_is_told() {
        run(async {
            let socket = Socket::open().unwrap();
            socket.send(&[16, 0, 0, 0, 0xff, 0x0f, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0]).unwrap();
            let mut receiver = Receiver::new(4, 20);
            assert_eq!(receiver.receive(&socket).unwrap(), Received::Datagrams(1));
            let datagram = receiver.datagrams().next().unwrap();
            assert!(datagram.is_truncated && datagram.bytes.len() == 20, "{datagram:?}");
            assert_eq!(receiver.receive(&socket).unwrap(), Received::Nothing);
        });
    }

    #[test]
    fn what_other_processes_send_is_left_out() {
        run(async {
            let socket = Socket::open().unwrap();
            let mut address = netlink_sys::SocketAddr::new(0, 0);
            socket.raw().get_address(&mut address).unwrap();
            let other = Socket::open().unwrap();
            // Netlink refuses this where the protocol does not let processes speak to one another, and it is no error.
            let sent = other.raw().send_to(&[16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &address, 0);
            let mut receiver = Receiver::new(4, 256);
            let outcome = receiver.receive(&socket).unwrap();
            match sent {
                Ok(_) => assert_eq!((outcome, receiver.foreign()), (Received::Datagrams(0), 1)),
                Err(error) => assert_eq!((outcome, error.raw_os_error()), (Received::Nothing, Some(libc::EPERM))),
            }
        });
    }
}
