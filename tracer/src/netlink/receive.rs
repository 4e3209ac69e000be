//! Receives many datagrams with one system call, without an allocation for each.

use std::io;
use std::os::fd::AsFd as _;

use super::debug;
use super::socket::Socket;
use super::sys::{self, BATCH, Envelope};

/// The result of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The number of datagrams, which are now in the receiver.
    Datagrams(usize),
    /// The receive buffer was full since the last call, so messages were lost (`ENOBUFS`). The next call returns the
    /// messages in the buffer.
    Overrun,
    /// No datagram is waiting.
    Nothing,
}

/// One datagram from the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'r> {
    /// The bytes of the datagram.
    pub bytes: &'r [u8],
    /// The datagram was longer than the receiver's slots, and its rest is lost.
    pub is_truncated: bool,
}

/// A buffer for a batch of datagrams.
pub struct Receiver {
    buffer: Vec<u8>,
    slot: usize,
    envelopes: [Envelope; BATCH],
    received: usize,
    foreign: u64,
}

impl Receiver {
    /// A buffer for up to 64 datagrams at once, each of up to `slot` bytes. The system allocates memory only for the
    /// part in use.
    pub fn new(slots: usize, slot: usize) -> Self {
        let (slots, slot) = (slots.clamp(1, BATCH), slot.max(1));
        Self { buffer: vec![0; slots * slot], slot, envelopes: [Envelope::default(); BATCH], received: 0, foreign: 0 }
    }

    /// Receives the waiting datagrams, without blocking. The datagrams of the previous call are overwritten.
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

    /// The received datagrams that the kernel sent.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let received = self.buffer.chunks_exact(self.slot).zip(&self.envelopes).take(self.received);
        received
            .filter(|(_, envelope)| envelope.sender == 0)
            .map(|(bytes, envelope)| Datagram { bytes: &bytes[..envelope.length], is_truncated: envelope.is_truncated })
    }

    /// The number of datagrams that other processes sent, which are ignored.
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
                // NLM_F_REQUEST for a family that does not exist: the kernel answers with an error.
                let words = [16_u32, 0x0001_0fff, sequence, 0];
                words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>()
            };
            for sequence in 0..500 {
                socket.send(&request(sequence)).unwrap();
            }
            let (mut answers, mut overruns) = (0, 0);
            let mut receiver = Receiver::new(64, 256);
            loop {
                match receiver.receive(&socket).unwrap() {
                    Received::Datagrams(datagrams) => answers += datagrams,
                    Received::Overrun => overruns += 1,
                    Received::Nothing => break,
                }
            }
            assert_eq!(overruns, 1);
            assert_eq!(answers + socket.dropped().unwrap() as usize, 500);
            assert_eq!(receiver.foreign(), 0);
        });
    }

    #[test]
    fn truncated_datagram_is_reported() {
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
    fn datagrams_of_other_processes_are_left_out() {
        run(async {
            let socket = Socket::open().unwrap();
            let mut address = netlink_sys::SocketAddr::new(0, 0);
            socket.raw().get_address(&mut address).unwrap();
            let other = Socket::open().unwrap();
            // Netlink refuses this if the protocol does not let processes send to one another. That is not an error
            // here.
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
