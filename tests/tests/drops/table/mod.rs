//! The table of provoked drops, in parts.

mod filter;
mod ip;
mod ipv6;
mod link;
mod local;
mod neighbour;
mod tcp;
mod tunnel;
mod udp;

use tests::case::Case;

/// All of it.
pub(crate) fn cases() -> Vec<Case> {
    let parts = [
        udp::CASES,
        tcp::HANDSHAKE,
        tcp::ESTABLISHED,
        ip::INPUT,
        ip::ROUTING,
        ip::FRAGMENTS,
        ipv6::CASES,
        neighbour::CASES,
        filter::CASES,
        link::CASES,
        tunnel::CASES,
        local::CASES,
    ];
    parts.concat()
}
