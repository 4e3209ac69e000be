//! The flow of a packet: its addresses, ports and mark, and whose socket it was.

use std::net::IpAddr;
use std::sync::Arc;

use super::owner::Process;

/// The facts of a flow that were asked for; each absent where it is unknown, and where it was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// The protocol above IP: `IPPROTO_*`.
    pub transport: Option<u8>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// The packet's mark (`skb->mark`).
    pub mark: Option<u32>,
    /// The process that had the packet's socket open when droptrace first found one.
    pub process: Option<Arc<Process>>,
    /// The user who made the packet's socket (`sk_uid`).
    pub uid: Option<u32>,
    /// Whether these are drops of several flows that had to give way to others in the kernel's table: no fact of them is
    /// known. Each of the other rows may have had some of them.
    pub is_others: bool,
}
