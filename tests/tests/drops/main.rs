//! The table of provoked drops.

mod filter;
mod ip;
mod ipv6;
mod link;
mod local;
mod neighbour;
mod tcp;
mod tunnel;
mod udp;

use std::process::ExitCode;

use tests::{case, trials};

fn main() -> ExitCode {
    let tables = [
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
    trials::run(case::trials(tables.concat()))
}
