//! Rows and records say what is so, or that it is not known: under names that the kernel uses again, of packets whose
//! fields hold something else by then, and of packets that the kernel has taken apart.
//!
//! One at a time: where the kernel does not tell whose a packet was, every trace shows it.

mod records;
mod rows;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    trials::run_one_by_one([records::trials(), rows::trials()].into_iter().flatten().collect())
}
