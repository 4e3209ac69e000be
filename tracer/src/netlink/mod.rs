//! Netlink, mainly generic netlink: sockets, requests and answers, families by name, multicast groups.
//!
//! `netlink-packet-core` and `netlink-packet-generic` define the layout of messages. [`wire`] reads the kernel's
//! messages: it borrows the bytes, and accepts attributes of newer kernels that it does not know.
//!
//! `DROPTRACE_NETLINK_DEBUG=1` or `-vvv` shows every message sent and received (`debug`).

pub(crate) mod absence;
pub mod crypto;
pub(crate) mod debug;
mod decode;
mod details;
mod diag;
mod error;
mod ethtool;
mod exchange;
mod family;
mod inet_diag;
mod links;
pub(crate) mod names;
mod peers;
mod policy;
mod receive;
mod request;
mod socket;
mod sys;
pub mod wire;

/// Held by tests that let sockets overrun, because [`crate::kernel::own_netlink`] counts the overruns of the whole
/// process.
#[cfg(test)]
pub(crate) static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
pub(crate) use crypto::tests::algorithms as crypto_samples;
pub use decode::{Decoded, Decoder, Value};
pub use details::{Details, Operation};
pub(crate) use diag::{NetlinkSocket, netlink_sockets};
pub use error::{Error, Refusal};
pub(crate) use ethtool::{Ethtool, Room};
pub use family::{Family, Group};
pub use inet_diag::TcpListener;
pub(crate) use inet_diag::tcp_listeners;
pub(crate) use links::{LINK_COUNTERS, LinkCounters, link_counter_names, link_counters};
pub use links::{Link, links};
pub(crate) use peers::{Peers, Veth};
#[cfg(test)]
pub(crate) use policy::tests::nested as nested_policies;
pub use policy::{AttributePolicy, Policies, Policy, Roots, Step};
pub use receive::{Datagram, Received, Receiver};
pub use request::{BatchCommand, Connection, Kind, Reply};
pub use socket::{Socket, raw};
