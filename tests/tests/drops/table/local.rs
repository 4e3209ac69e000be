//! Messages that never leave the host, and queues that are thrown away.

use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tests::case::{Case, Interface, Owner};
use tests::frame::ethernet;
use tests::netns::Netns;
use tests::packet::PacketSocket;
use tests::trials::Unable;
use tests::wire::Wire;

/// An `EtherType` for experiments (IEEE 802).
const EXPERIMENTAL: u16 = 0x88b5;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "unix_closed_unread",
        reason: "SOCKET_CLOSE",
        symbols: &["unix_release_sock"],
        interface: Interface::Unset,
        protocol: None,
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let host = Netns::new()?;
            let (writer, reader) = host.run(|| Ok(UnixDatagram::pair()?))?;
            (0..case.count / 2).try_for_each(|_| writer.send(b"unread").map(drop))?;
            let (writer2, reader2) = host.run(|| Ok(UnixDatagram::pair()?))?;
            (0..case.count / 2).try_for_each(|_| writer2.send(b"unread").map(drop))?;
            case.watch(&host, || {
                drop((reader, reader2));
                Ok(())
            })
        },
    },
    Case {
        name: "packet_queue_purged",
        reason: "QUEUE_PURGE",
        symbols: &["skb_queue_purge_reason", "skb_queue_purge"],
        interface: Interface::Named("host0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let socket = PacketSocket::bind(&wire.host, "host0", EXPERIMENTAL)?;
            wire.repeat(case.count, &ethernet(EXPERIMENTAL, &[0; 46]))?;
            tests::case::drained()?;
            case.watch(&wire.host, || {
                drop(socket);
                Ok(())
            })
        },
    },
    Case {
        name: "unix_out_of_band_skipped",
        reason: "UNIX_SKIP_OOB",
        symbols: &["unix_stream_read_generic", "manage_oob"],
        interface: Interface::Unset,
        protocol: None,
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let host = Netns::new()?;
            let (writer, mut reader) = host.run(|| Ok(UnixStream::pair()?))?;
            case.watch(&host, || {
                for _ in 0..case.count {
                    match send(&writer, b"!", SendFlags::OOB) {
                        Err(Errno::OPNOTSUPP) => return Err(Unable("no out-of-band data here".to_owned()).into()),
                        sent => sent?,
                    };
                    send(&writer, b".", SendFlags::empty())?;
                    reader.read_exact(&mut [0])?;
                }
                Ok(())
            })
        },
    },
];
